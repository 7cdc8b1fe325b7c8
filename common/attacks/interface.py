"""What an attacker has, and what an attack is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from common.attacks.door import answers_in, labels_in, members_in, numbers_in

QueryKind = Literal["image", "near_copy", "noise_5", "noise_15", "shift"]
"""What is asked: the image itself; a copy that differs by one grey level at one pixel; with Gaussian noise of 0.05 or
0.15 in [0, 1]; shifted by a pixel."""

LabelKind = Literal["noise_5", "noise_10", "noise_20", "noise_40", "shift", "shift_2", "rotation", "flip"]
"""What is asked by those who look at the label alone."""

Sees = Literal["answer", "work", "label"]


class CannotRun(ValueError):
    """An attack cannot run on these observations: the message is the reason, which the report gives."""


@dataclass(frozen=True)
class Observations:
    """What an attacker has of n samples.

    answers:         float64 [n, Q, K], logits of Q queries a sample; given in any floating type
    labels:          int64 [n], the true labels; given in any type, if they are whole
    member:          bool [n], for fitting and for judging only; None where it is not known; given as bool or 0 and 1
    queries:         what each of the Q queries is
    work:            float64 [n, Q], reconstructions that each answer took, which its time tells; 0 where not given
    interval:        the fence's, which an attacker can find out from enough answers; None without a fence, and where it
                     accepts everything
    labels_kept:     bool [n, L], whether L changed images still get the image's label
    label_queries:   what each of the L changes is
    boundary:        float64 [n], distance to the nearest image of another label; NaN where it was not searched
    boundary_cost:   queries a sample that the search took
    shadow_answers:  float64 [S, n, Q, K], those of S shadow models to the same queries, where there are any
    in_shadow:       bool [S, n], which samples each shadow model was trained on

    Raises ValueError where shapes or types do not fit, answers are not finite, or membership has one kind only.
    """

    answers: np.ndarray
    labels: np.ndarray
    member: np.ndarray | None
    queries: tuple[QueryKind, ...] = ("image",)
    work: np.ndarray | None = None
    interval: tuple[float, float] | None = None
    labels_kept: np.ndarray | None = None
    label_queries: tuple[LabelKind, ...] = ()
    boundary: np.ndarray | None = None
    boundary_cost: int = 0
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
        work = np.zeros((n, queries)) if self.work is None else self.work
        taken["work"] = numbers_in(work, name="work", shape=(n, queries))
        kept = np.zeros((n, 0), dtype=bool) if self.labels_kept is None else self.labels_kept
        taken["labels_kept"] = members_in(kept, shape=(n, len(self.label_queries)), name="labels_kept")
        if self.boundary is not None:
            taken["boundary"] = numbers_in(self.boundary, name="boundary", shape=(n,), holes=True)
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

    def places(self, needs: "Needs") -> np.ndarray:
        """Where among the Q queries those of an attack stand: the first ones of each kind that it needs, int64."""
        kinds = np.array(self.queries)
        return np.concatenate([np.flatnonzero(kinds == kind)[:count] for kind, count in needs.queries.items()])

    def kept(self, kind: LabelKind) -> np.ndarray:
        """Whether the changes of one kind keep the label: bool [n, changes]."""
        assert self.labels_kept is not None
        return self.labels_kept[:, np.array(self.label_queries) == kind]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: np.ndarray) -> "Observations":
        rows = np.arange(len(self))[chosen]
        taken: dict[str, Any] = {name: getattr(self, name) for name in _SAMPLES_AXIS}
        for name, axis in _SAMPLES_AXIS.items():
            if taken[name] is not None:
                taken[name] = taken[name].take(rows, axis)
        return replace(self, **taken)

    def joined(self, other: "Observations") -> "Observations":
        """These samples and after them the other ones, observed in the same way."""
        if (self.queries, self.label_queries) != (other.queries, other.label_queries):
            raise ValueError(f"samples observed by other queries: {self.queries} and {other.queries}")
        both: dict[str, Any] = {}
        for name, axis in _SAMPLES_AXIS.items():
            ours, theirs = getattr(self, name), getattr(other, name)
            both[name] = None if ours is None or theirs is None else np.concatenate([ours, theirs], axis)
        return replace(self, **both)


_SAMPLES_AXIS = {
    **dict.fromkeys(("answers", "labels", "member", "work", "labels_kept", "boundary"), 0),
    **dict.fromkeys(("shadow_answers", "in_shadow"), 1),
}
"""The axis of each array of ``Observations`` that runs over the samples."""


@dataclass(frozen=True)
class Needs:
    """What an attack must have.

    queries:   how many queries of which kind for each sample
    labels:    how many changed images of which kind whose labels are seen
    boundary:  the distance to the nearest image of another label
    shadows:   shadow models
    """

    queries: Mapping[QueryKind, int] = field(default_factory=lambda: {"image": 1})
    labels: Mapping[LabelKind, int] = field(default_factory=dict)
    boundary: bool = False
    shadows: bool = False

    def together(self, other: "Needs") -> "Needs":
        """What two attacks need: the more of each kind."""

        def more(ours: Mapping[Any, int], theirs: Mapping[Any, int]) -> dict[Any, int]:
            return {kind: max(ours.get(kind, 0), theirs.get(kind, 0)) for kind in [*ours, *theirs]}

        return Needs(
            more(self.queries, other.queries),
            more(self.labels, other.labels),
            self.boundary or other.boundary,
            self.shadows or other.shadows,
        )

    @property
    def only_images(self) -> bool:
        """Whether nothing is asked beside the images themselves."""
        return not (set(self.queries) - {"image"} or self.labels or self.boundary)

    def asked(self, observations: Observations) -> int:
        """Queries a sample, those included of which the label alone is seen."""
        searching = observations.boundary_cost if self.boundary else 0
        return sum(self.queries.values()) + sum(self.labels.values()) + searching

    def missing(self, observations: Observations) -> str | None:
        """What the observations lack, as the report says it; None where nothing is missing."""
        for wanted, there in ((self.queries, observations.queries), (self.labels, observations.label_queries)):
            for kind, count in wanted.items():
                found = there.count(kind)
                if found < count:
                    return f"needs {count} queries a sample of the kind {kind!r}, and there are {found}"
        if self.boundary and observations.boundary is None:
            return "needs a search for the boundary: `pip install -r requirements-boundary.txt`, then `--attacks all`"
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
    sees:       what it looks at, beside the true label: answers, the work behind them, or labels alone
    learns:     it learns more than a threshold from what it is fitted on, so it is never judged on that
    published:  the paper's code has it
    """

    name: str
    source: str
    needs: Needs
    fit: Callable[[Observations, Fitting], Any]
    scores: Callable[[Any, Observations], np.ndarray]
    sees: Sees = "answer"
    learns: bool = False
    published: bool = False

    @property
    def fast(self) -> bool:
        """Whether it needs neither shadow models nor a search for the boundary."""
        return not (self.needs.shadows or self.needs.boundary)
