"""What an attacker has, and what an attack is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from common.attacks.door import answers_in, labels_in, members_in

QueryKind = Literal["image"]  # the image itself; near-copies and others come here as attacks ask for them


class CannotRun(ValueError):
    """An attack cannot run on these observations: the message is the reason, which the report gives."""


@dataclass(frozen=True)
class Observations:
    """What an attacker has of n samples.

    answers:         float64 [n, Q, K], logits of Q queries a sample; given in any floating type
    labels:          int64 [n], the true labels; given in any type, if they are whole
    member:          bool [n], for fitting and for judging only; None where it is not known; given as bool or 0 and 1
    queries:         what each of the Q queries is
    shadow_answers:  float64 [S, n, Q, K], those of S shadow models to the same queries, where there are any
    in_shadow:       bool [S, n], which samples each shadow model was trained on

    Raises ValueError where shapes or types do not fit, answers are not finite, or membership has one kind only.
    """

    answers: np.ndarray
    labels: np.ndarray
    member: np.ndarray | None
    queries: tuple[QueryKind, ...] = ("image",)
    shadow_answers: np.ndarray | None = None
    in_shadow: np.ndarray | None = None

    def __post_init__(self) -> None:
        answers = answers_in(self.answers, name="answers", shape="[n, Q, K]")
        n, queries, num_classes = answers.shape
        if queries != len(self.queries):
            raise ValueError(f"answers {answers.shape} to {len(self.queries)} queries a sample")
        taken = {"answers": answers, "labels": labels_in(self.labels, count=n, num_classes=num_classes)}
        if self.member is not None:
            member = taken["member"] = members_in(self.member, shape=(n,))
            if member.all() or not member.any():
                raise ValueError("an attack needs members and non-members")
        if self.shadow_answers is not None and self.in_shadow is not None:
            shadows = answers_in(self.shadow_answers, name="shadow answers", shape="[S, n, Q, K]")
            if shadows.shape[1:] != answers.shape:
                raise ValueError(f"answers {answers.shape}, shadow answers {shadows.shape}")
            in_shadow = members_in(self.in_shadow, shape=shadows.shape[:2], name="in_shadow")
            taken |= {"shadow_answers": shadows, "in_shadow": in_shadow}
        elif self.shadow_answers is not None or self.in_shadow is not None:
            raise ValueError("shadow models need both their answers and which samples they were trained on")
        for name, array in taken.items():
            object.__setattr__(self, name, array)  # frozen for everybody else

    @classmethod
    def of_images(cls, logits: np.ndarray, labels: np.ndarray, member: np.ndarray | None) -> "Observations":
        """One query a sample, the image itself: logits [n, K]."""
        return cls(answers_in(logits, name="logits", shape="[n, K]")[:, None], labels, member)

    @property
    def logits(self) -> np.ndarray:
        """The answers to the images themselves: [n, K]."""
        return self.answers[:, self.queries.index("image")]

    @property
    def membership(self) -> np.ndarray:
        """bool [n]. Raises ValueError where it is not known."""
        if self.member is None:
            raise ValueError("who is a member is not known here")
        return self.member

    @property
    def correct(self) -> np.ndarray:
        """bool [n]: the label of the answer to the image is the true one."""
        return self.logits.argmax(axis=1) == self.labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: np.ndarray) -> "Observations":
        return Observations(
            self.answers[chosen],
            self.labels[chosen],
            None if self.member is None else self.member[chosen],
            self.queries,
            None if self.shadow_answers is None else self.shadow_answers[:, chosen],
            None if self.in_shadow is None else self.in_shadow[:, chosen],
        )

    def joined(self, other: "Observations") -> "Observations":
        """These samples and after them the other ones, observed in the same way."""
        if self.queries != other.queries:
            raise ValueError(f"samples observed by other queries: {self.queries} and {other.queries}")
        return Observations(
            np.concatenate([self.answers, other.answers]),
            np.concatenate([self.labels, other.labels]),
            _both(self.member, other.member, axis=0),
            self.queries,
            _both(self.shadow_answers, other.shadow_answers, axis=1),
            _both(self.in_shadow, other.in_shadow, axis=1),
        )


def _both(first: np.ndarray | None, second: np.ndarray | None, *, axis: int) -> np.ndarray | None:
    return None if first is None or second is None else np.concatenate([first, second], axis=axis)


@dataclass(frozen=True)
class Needs:
    """What an attack must have: how many queries of which kind for each sample, and whether shadow models."""

    queries: Mapping[QueryKind, int] = field(default_factory=lambda: {"image": 1})
    shadows: bool = False

    def missing(self, observations: Observations) -> str | None:
        """What the observations lack, as the report says it; None where nothing is missing."""
        for kind, wanted in self.queries.items():
            found = observations.queries.count(kind)
            if found < wanted:
                return f"needs {wanted} queries a sample of the kind {kind!r}, and there are {found}"
        if self.shadows and observations.shadow_answers is None:
            return "needs shadow models, and there are none"
        return None


@dataclass(frozen=True)
class Fitting:
    """How attacks are fitted; the last two are the published code's ways.

    config:               the evaluation's configuration, in which an attack has a section where it needs one
    hindsight_threshold:  a threshold on one number is not fitted, since it will be picked in hindsight: scores stay as
                          they are
    choose_on:            an attack that is trained picks its epoch by these observations, not by a part of its own
    """

    config: Any
    seed: int
    hindsight_threshold: bool = False
    choose_on: Observations | None = None


@dataclass(frozen=True)
class Attack:
    """An attack, fitted on observations whose membership is known and scored on others.

    name:       as the registry and the reports have it
    source:     the paper it is from
    needs:      what it must have
    fit:        (observations with membership, fitting) -> what it has learnt; raises CannotRun with the reason
    scores:     (what it has learnt, observations) -> float64 [n], higher = more likely a member, and at least 0 where
                it says member, unless the threshold is picked in hindsight
    learns:     it learns more than a threshold from what it is fitted on, so it is never judged on that
    published:  the paper's code has it
    """

    name: str
    source: str
    needs: Needs
    fit: Callable[[Observations, Fitting], Any]
    scores: Callable[[Any, Observations], np.ndarray]
    learns: bool = False
    published: bool = False
