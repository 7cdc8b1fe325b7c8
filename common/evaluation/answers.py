"""From candidates to observations: what a role's samples are answered, with the fence or without."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from common.attacks.observations import LabelKind, Observations, QueryKind
from common.data.partition import Partition, Role
from common.diffence import Candidates, Rule, answer, phi
from common.diffence.rule import Answer, reconstructions_needed
from common.evaluation.bank import Bank, Part
from common.runtime.images import Labelled
from common.runtime.modes import Work


@dataclass(frozen=True)
class Answered:
    """What one role's samples are answered.

    observations:  what an attacker has of them, membership included
    phi:           float64 [n], the confidence of the answers
    raw_labels:    int64 [n], the labels of the raw answers
    raw:           bool [n], which answers are the raw ones
    """

    observations: Observations
    phi: np.ndarray
    raw_labels: np.ndarray
    raw: np.ndarray

    @property
    def label_agreement(self) -> float:
        """Share of samples whose answer has the label of the raw one."""
        return float((self.observations.logits.argmax(axis=1) == self.raw_labels).mean())

    @property
    def raw_answer_rate(self) -> float:
        """Share of samples that are answered by the raw logits, behind a fence the last resort."""
        return float(self.raw.mean())

    @property
    def accuracy(self) -> dict[str, float]:
        """Of members, which are training samples, and of non-members."""
        correct, member = self.observations.correct, self.observations.membership
        return {"train": float(correct[member].mean()), "test": float(correct[~member].mean())}


class Asked(NamedTuple):
    """What queries [n], or [n, Q], are answered.

    raw:     [..., K], the classifier's own answers
    fenced:  [..., K], those behind the fence
    work:    int64 [...], the reconstructions that the latter take
    window:  float64 [..., 2], the least and greatest phi that the fence wants of them
    """

    raw: torch.Tensor
    fenced: torch.Tensor
    work: torch.Tensor
    window: torch.Tensor

    @classmethod
    def of(cls, candidates: Candidates, rule: Rule, *, work: Work) -> "Asked":
        """Queries with these candidates behind a fence of this rule, which draws as many as it needs, or always all."""
        needed = reconstructions_needed(candidates, rule)
        return cls(
            candidates.logits[:, -1],
            answer(candidates, rule).logits,
            needed if work == "lazy" else torch.full_like(needed, candidates.count),
            rule.window(candidates),
        )

    @classmethod
    def cat(cls, parts: Sequence["Asked"]) -> "Asked":
        """Of the same samples, more queries: along Q."""
        return cls(*(torch.cat(each, dim=1) for each in zip(*parts, strict=True)))


@dataclass(frozen=True, eq=False)
class Further:
    """What is asked of n samples beside the images themselves.

    queries:        what each of Q further queries is
    asked:          their answers, [n, Q] in one part or several
    label_queries:  what each of L changed images is of which the label alone is asked
    labels_kept:    bool [n, L], whether the classifier's label is that of the image
    fenced_labels_kept:  the same of a fence that may change labels; None where it keeps them
    boundary:       the classifier's distance to the nearest image of another label, float64 [n], NaN where it was not
                    searched, and the queries that a search takes; behind a fence that changes labels nobody searches
    """

    queries: tuple[QueryKind, ...] = ()
    asked: Sequence[Asked] = ()
    label_queries: tuple[LabelKind, ...] = ()
    labels_kept: np.ndarray | None = None
    fenced_labels_kept: np.ndarray | None = None
    boundary: tuple[np.ndarray, int] | None = None

    def with_labels_of(self, other: "Further") -> "Further":
        """With what another asking about the same samples found out by labels alone."""
        return replace(self, label_queries=other.label_queries, labels_kept=other.labels_kept, boundary=other.boundary)


@dataclass(frozen=True, eq=False)
class RoleCandidates:
    """The candidates of one role's samples, members first, with their true labels int64 [n] and bool [n].

    work:     of the fence
    further:  what attackers ask beside the images themselves, where they do
    """

    candidates: Candidates
    labels: np.ndarray
    member: np.ndarray
    work: Work = "lazy"
    further: Further | None = None

    def answered(self, rule: Rule | None) -> Answered:
        """The fenced answers, or the raw ones where there is no rule. From here on there are numpy arrays only."""
        raw = self.candidates.logits[:, -1]
        found = Answer(raw, torch.ones(len(raw), dtype=torch.bool)) if rule is None else answer(self.candidates, rule)
        return Answered(
            self._observed(rule),
            phi(found.logits).numpy(),
            raw.argmax(dim=1).numpy(),
            found.raw.numpy(),
        )

    def _observed(self, rule: Rule | None) -> Observations:
        """The answers to the images and to all that is asked beside them."""
        further = self.further or Further()
        raw = torch.cat([self.candidates.logits[:, -1:], *(each.raw for each in further.asked)], dim=1)
        asked, changes_labels = None, rule is not None and further.fenced_labels_kept is not None
        if rule is not None:
            images = Asked.of(self.candidates, rule, work=self.work)
            asked = Asked.cat([Asked(*(part[:, None] for part in images)), *further.asked])
        searched = None if changes_labels else further.boundary
        return Observations(
            (asked.fenced if asked else raw).double().numpy(),
            self.labels,
            self.member,
            queries=("image", *further.queries),
            work=asked.work.numpy() if asked else None,
            interval=asked.window.numpy() if asked and asked.window.isfinite().all() else None,
            labels_kept=further.fenced_labels_kept if changes_labels else further.labels_kept,
            label_queries=further.label_queries,
            boundary=searched and searched[0],
            boundary_cost=searched[1] if searched else 0,
        )

    def reconstructions_per_query(self, rule: Rule) -> float:
        """Mean number of reconstructions that a fenced answer takes."""
        return float(Asked.of(self.candidates, rule, work=self.work).work.double().mean())

    @property
    def counts(self) -> dict[str, int]:
        return {"members": int(self.member.sum()), "non_members": int((~self.member).sum())}


@dataclass(frozen=True)
class Population:
    """A partition with the samples that it shares out, uint8 on the CPU."""

    partition: Partition
    train: Labelled
    test: Labelled

    def parts(self, role: Role) -> tuple[Part, Part]:
        """A role's members and non-members as parts of the partition's lists."""
        members, test = self.partition.members, self.partition.test_order
        return (
            Part("members", len(members), _places(members, role.members), self.train.images[role.members]),
            Part("test", len(test), _places(test, role.non_members), self.test.images[role.non_members]),
        )

    def images(self, role: Role) -> torch.Tensor:
        """uint8 [n, C, H, W], members first."""
        return torch.cat([part.images for part in self.parts(role)])

    def labels(self, role: Role) -> np.ndarray:
        """int64 [n], members first."""
        return torch.cat([self.train.labels[role.members], self.test.labels[role.non_members]]).numpy()


@dataclass(frozen=True)
class FencedPopulation:
    """A population behind one fence, its candidates kept in a bank.

    near:  a second bank, of more candidates by another seed, from which near-copies are answered
    """

    population: Population
    bank: Bank
    near: Bank

    def draw(self, role: Role, *, until: Rule | None, desc: str) -> RoleCandidates:
        """A role's candidates, each sample's drawn until one is accepted; None draws them all."""
        candidates = self.bank.draw(self.population.parts(role), until=until, desc=desc)
        member = np.arange(len(candidates)) < len(role.members)
        return RoleCandidates(candidates, self.population.labels(role), member, self.bank.fence.work)


def _places(among: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Where each chosen index stands among distinct ones."""
    order = np.argsort(among)
    return order[np.searchsorted(among, chosen, sorter=order)]
