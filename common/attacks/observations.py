"""What an attacker has of n samples, whoever he is."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from common.attacks.door import answers_in, labels_in, members_in, numbers_in

QueryKind = Literal["image", "near_copy", "noise_5", "noise_15", "shift"]
"""What is asked: the image itself; a copy that differs by one grey level at one pixel; with Gaussian noise of 0.05 or
0.15 in [0, 1]; shifted by a pixel."""

LabelKind = Literal["noise_5", "noise_10", "noise_20", "noise_40", "shift", "shift_2", "rotation", "flip"]
"""What is asked by those who look at the label alone."""


@dataclass(frozen=True)
class Observations:
    """What an attacker has of n samples.

    answers:         float64 [n, Q, K], logits of Q queries a sample; given in any floating type
    labels:          int64 [n], the true labels; given in any type, if they are whole
    member:          bool [n], for fitting and for judging only; None where it is not known; given as bool or 0 and 1
    queries:         what each of the Q queries is
    work:            float64 [n, Q], reconstructions that each answer took, which its time tells; 0 where not given
    interval:        float64 [n, Q, 2], least and greatest phi that the fence wants of each answer, which attackers can
                     find out; given so, or as two numbers for all. None without a fence and where all is accepted
    labels_kept:     bool [n, L], whether L changed images still get the image's label
    label_queries:   what each of the L changes is
    boundary:        float64 [n], distance to the nearest image of another label; NaN where it was not searched
    boundary_cost:   queries a sample that the search took
    shadow_phi:      float64 [S, n, Q], phi of the true label in the answers of S shadow models to the same queries
    in_shadow:       bool [S, n], which samples each shadow model was trained on

    Raises ValueError where shapes or types do not fit, answers are not finite, or membership has one kind only.
    """

    answers: np.ndarray
    labels: np.ndarray
    member: np.ndarray | None
    queries: tuple[QueryKind, ...] = ("image",)
    work: np.ndarray | None = None
    interval: np.ndarray | tuple[float, float] | None = None
    labels_kept: np.ndarray | None = None
    label_queries: tuple[LabelKind, ...] = ()
    boundary: np.ndarray | None = None
    boundary_cost: int = 0
    shadow_phi: np.ndarray | None = None
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
        if self.interval is not None:
            wanted = (
                np.broadcast_to(self.interval, (n, queries, 2)) if np.shape(self.interval) == (2,) else self.interval
            )
            taken["interval"] = numbers_in(wanted, name="interval", shape=(n, queries, 2))
        kept = np.zeros((n, 0), dtype=bool) if self.labels_kept is None else self.labels_kept
        taken["labels_kept"] = members_in(kept, shape=(n, len(self.label_queries)), name="labels_kept")
        if self.boundary is not None:
            taken["boundary"] = numbers_in(self.boundary, name="boundary", shape=(n,), holes=True)
        if self.shadow_phi is not None and self.in_shadow is not None:
            shape = (len(self.shadow_phi), n, queries)
            shadows = numbers_in(self.shadow_phi, name="shadow_phi", shape=shape)
            in_shadow = members_in(self.in_shadow, shape=shape[:2], name="in_shadow")
            taken |= {"shadow_phi": shadows, "in_shadow": in_shadow}
        elif self.shadow_phi is not None or self.in_shadow is not None:
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

    def wanted(self, places: np.ndarray | int) -> tuple[np.ndarray, np.ndarray] | None:
        """Least and greatest phi that the fence wants of the answers in some places, each [n, ...]; None without."""
        if self.interval is None:
            return None
        ends = np.asarray(self.interval)[:, places]
        return ends[..., 0], ends[..., 1]

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
    **dict.fromkeys(("answers", "labels", "member", "work", "interval", "labels_kept", "boundary"), 0),
    **dict.fromkeys(("shadow_phi", "in_shadow"), 1),
}
"""The axis of each array of ``Observations`` that runs over the samples."""
