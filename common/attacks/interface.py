"""What an attacker has, and what an attack is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

QueryKind = Literal["image"]  # the image itself; near-copies and others come here as attacks ask for them


class CannotRun(ValueError):
    """An attack cannot run on these observations: the message is the reason, which the report gives."""


@dataclass(frozen=True)
class Observations:
    """What an attacker has of n samples.

    answers:         float64 [n, Q, K], logits of Q queries a sample
    labels:          int64 [n], the true labels
    member:          bool [n], for fitting and for judging only; None where it is not known
    queries:         what each of the Q queries is
    shadow_answers:  float64 [S, n, Q, K], those of S shadow models to the same queries, where there are any
    in_shadow:       bool [S, n], which samples each shadow model was trained on

    Raises ValueError where shapes do not fit, answers are not finite, or membership has one kind only.
    """

    answers: np.ndarray
    labels: np.ndarray
    member: np.ndarray | None
    queries: tuple[QueryKind, ...] = ("image",)
    shadow_answers: np.ndarray | None = None
    in_shadow: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.answers.shape
        if len(shape) != 3 or shape[1] != len(self.queries) or self.labels.shape != shape[:1]:
            raise ValueError(f"answers {shape} to {len(self.queries)} queries a sample, labels {self.labels.shape}")
        if not np.isfinite(self.answers).all():
            raise ValueError("answers with NaN or infinite logits")
        if len(self.labels) and not (self.labels.min() >= 0 and self.labels.max() < shape[2]):
            raise ValueError(f"labels outside 0 … {shape[2] - 1}")
        if self.member is not None:
            if self.member.shape != shape[:1] or self.member.dtype != bool:
                raise ValueError(f"answers {shape}, member {self.member.dtype} {self.member.shape}")
            if self.member.all() or not self.member.any():
                raise ValueError("an attack needs members and non-members")
        self._check_shadows()

    def _check_shadows(self) -> None:
        if self.shadow_answers is None and self.in_shadow is None:
            return
        if self.shadow_answers is None or self.in_shadow is None:
            raise ValueError("shadow models need both their answers and which samples they were trained on")
        if self.shadow_answers.shape[1:] != self.answers.shape or self.in_shadow.dtype != bool:
            raise ValueError(f"answers {self.answers.shape}, shadow answers {self.shadow_answers.shape}")
        if self.in_shadow.shape != self.shadow_answers.shape[:2] or not np.isfinite(self.shadow_answers).all():
            raise ValueError("shadow answers that are not finite, or in_shadow of another shape")

    @classmethod
    def of_images(cls, logits: np.ndarray, labels: np.ndarray, member: np.ndarray | None) -> "Observations":
        """One query a sample, the image itself: logits [n, K]."""
        return cls(logits[:, None], labels, member)

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
