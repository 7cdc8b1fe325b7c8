"""From candidates to observations: what a role's samples are answered, with the fence or without."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from common.attacks.interface import LabelKind, Observations, QueryKind
from common.data.partition import Partition, Role
from common.diffence import Candidates, Interval, select
from common.diffence.rule import EVERYWHERE, reconstructions_needed
from common.evaluation.bank import Bank, Part
from common.runtime.images import Labelled


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


@dataclass(frozen=True, eq=False)
class Further:
    """What is asked of n samples beside the images themselves.

    queries:        what each of Q further queries is
    raw:            float32 [n, Q, K], the classifier's own answers
    fenced:         float32 [n, Q, K], those behind the fence
    work:           int64 [n, Q], the reconstructions that the latter take
    label_queries:  what each of L changed images is of which the label alone is asked
    labels_kept:    bool [n, L], whether it is that of the image; a fence that keeps labels changes nothing here
    boundary:       the distance to the nearest image of another label, float64 [n], NaN where it was not searched, and
                    the queries that a search takes
    """

    queries: tuple[QueryKind, ...]
    raw: np.ndarray
    fenced: np.ndarray
    work: np.ndarray
    label_queries: tuple[LabelKind, ...]
    labels_kept: np.ndarray
    boundary: tuple[np.ndarray, int] | None = None


@dataclass(frozen=True, eq=False)
class RoleCandidates:
    """The candidates of one role's samples, members first, with their true labels int64 [n] and bool [n].

    further:  what attackers ask beside the images themselves, where they do
    """

    candidates: Candidates
    labels: np.ndarray
    member: np.ndarray
    further: Further | None = None

    def answered(self, interval: Interval | None) -> Answered:
        """The fenced answers, or the raw ones where there is no interval. From here on there are numpy arrays only."""
        candidates, n = self.candidates, len(self.candidates)
        index = torch.full((n,), candidates.count) if interval is None else select(candidates, interval)
        rows = torch.arange(n)
        return Answered(
            self._observed(candidates.logits[rows, index].double().numpy(), interval),
            candidates.phi[rows, index].numpy(),
            candidates.logits[:, -1].argmax(dim=1).numpy(),
            (index == candidates.count).numpy(),
        )

    def _observed(self, logits: np.ndarray, interval: Interval | None) -> Observations:
        """The answers to the images and to all that is asked beside them."""
        told = None if interval == EVERYWHERE else interval
        of_images = replace(Observations.of_images(logits, self.labels, self.member), interval=told)
        further = self.further
        if further is None:
            return of_images
        fenced = interval is not None
        work = reconstructions_needed(self.candidates, interval).numpy() if interval else np.zeros(len(self.labels))
        return replace(
            of_images,
            answers=np.concatenate([of_images.answers, further.fenced if fenced else further.raw], axis=1),
            queries=(*of_images.queries, *further.queries),
            work=np.concatenate([work[:, None], further.work * fenced], axis=1),
            labels_kept=further.labels_kept,
            label_queries=further.label_queries,
            boundary=further.boundary and further.boundary[0],
            boundary_cost=further.boundary[1] if further.boundary else 0,
        )

    def reconstructions_per_query(self, interval: Interval) -> float:
        """Mean number of reconstructions that a fenced answer needs."""
        return float(reconstructions_needed(self.candidates, interval).double().mean())

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

    def draw(self, role: Role, *, until: Interval | None, desc: str) -> RoleCandidates:
        """A role's candidates, each sample's drawn until one is accepted; None draws them all."""
        candidates = self.bank.draw(self.population.parts(role), until=until, desc=desc)
        member = np.arange(len(candidates)) < len(role.members)
        return RoleCandidates(candidates, self.population.labels(role), member)


def _places(among: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Where each chosen index stands among distinct ones."""
    order = np.argsort(among)
    return order[np.searchsorted(among, chosen, sorter=order)]
