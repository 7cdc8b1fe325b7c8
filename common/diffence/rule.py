"""The paper's rule: which of an image's candidates answers.

here              paper
y_0               the label of the raw input, which is what the fenced classifier always answers
candidates        the classifier's logits on N reconstructions of x, and on x itself, the last resort
phi               logit-scaled confidence, log p_top - log(1 - p_top)
interval          [lo, hi] of phi in which members and non-members look alike
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

import torch


def phi(logits: torch.Tensor) -> torch.Tensor:
    """log p_top - log(1 - p_top) of softmax(logits): [..., K] -> float64 [...].

    Computed as z_top - logsumexp of the others, which equals it and does not saturate where p_top rounds to 1.
    """
    z = logits.double()
    top = z.argmax(dim=-1, keepdim=True)
    others = z.scatter(-1, top, -math.inf)
    return z.gather(-1, top).squeeze(-1) - others.logsumexp(dim=-1)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The candidates of n images, reconstructions in order and the raw logits last.

    logits:  [n, N + 1, K]
    drawn:   int64 [n], how many reconstructions of each image there are; they are drawn in order, and what stands in
             the places after them means nothing
    rank:    float64 [n] in [0, 1], by which a rule may choose for each image what it wants of it (see matching.py)
    """

    logits: torch.Tensor
    drawn: torch.Tensor
    rank: torch.Tensor | None = None

    def judged(self, phi: torch.Tensor) -> "Candidates":
        """The same, where phi, float64 [n, N + 1], has been computed already."""
        candidates = replace(self)
        candidates.__dict__["phi"] = phi  # where a cached property keeps its value
        return candidates

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, rows: torch.Tensor | slice) -> "Candidates":
        return Candidates(self.logits[rows], self.drawn[rows], None if self.rank is None else self.rank[rows])

    @classmethod
    def cat(cls, parts: Iterable["Candidates"]) -> "Candidates":
        """The images of all parts, one after the other."""
        parts = list(parts)
        ranks = [part.rank for part in parts if part.rank is not None]
        return cls(
            torch.cat([part.logits for part in parts]),
            torch.cat([part.drawn for part in parts]),
            torch.cat(ranks) if len(ranks) == len(parts) else None,
        )

    @property
    def count(self) -> int:
        """N, the reconstructions of an image when all are drawn."""
        return self.logits.shape[1] - 1

    @cached_property
    def phi(self) -> torch.Tensor:
        """float64 [n, N + 1]"""
        return phi(self.logits)

    @cached_property
    def keeps(self) -> torch.Tensor:
        """Which candidates are there and keep the raw label: bool [n, N + 1], the last always true."""
        labels = self.logits.argmax(dim=-1)  # of equal logits the first counts, for raw answer and candidates alike
        there = torch.arange(self.count) < self.drawn[:, None]
        raw = torch.ones(len(self), 1, dtype=torch.bool)
        return torch.cat([there, raw], dim=1) & (labels == labels[:, -1:])


class Answer(NamedTuple):
    """What n images are answered: logits [n, K], and which of them are the raw ones, bool [n]."""

    logits: torch.Tensor
    raw: torch.Tensor


class Rule(Protocol):
    """Makes an answer of an image's candidates.

    keeps_labels:  the label of an answer is always that of the raw input
    reconstructs:  an answer depends on reconstructions; where it does not, none is drawn
    """

    @property
    def keeps_labels(self) -> bool: ...

    @property
    def reconstructs(self) -> bool: ...

    def accepts(self, phi: torch.Tensor, keeps: torch.Tensor, rank: torch.Tensor | None) -> torch.Tensor:
        """Which reconstructions [n, M] end an image's draws: bool.

        phi, keeps:  of each, and whether it keeps the label
        rank:        float64 [n], of each image
        """

    def answer(self, candidates: Candidates) -> Answer:
        """From the candidates that are drawn: all of them, or up to the first that is accepted."""

    def window(self, candidates: Candidates) -> torch.Tensor:
        """Least and greatest phi that are wanted of each image's answer: float64 [n, 2]."""


class Interval(NamedTuple):
    """The paper's rule, for the values of phi that are accepted, both ends included.

    Of the candidates with the raw label, the first whose phi is inside answers; if there is none, the one whose phi is
    nearest to the interval's middle. The raw candidate has the raw label, so there always is one.
    """

    lo: float
    hi: float

    @property
    def keeps_labels(self) -> bool:
        return True

    @property
    def reconstructs(self) -> bool:
        return True

    def accepts(self, phi: torch.Tensor, keeps: torch.Tensor, rank: torch.Tensor | None = None) -> torch.Tensor:
        return keeps & (phi >= self.lo) & (phi <= self.hi)

    def answer(self, candidates: Candidates) -> Answer:
        return take(candidates, self.choose(candidates.phi, candidates.keeps))

    def window(self, candidates: Candidates) -> torch.Tensor:
        return torch.tensor(self, dtype=torch.float64).expand(len(candidates), 2)

    def choose(self, phi: torch.Tensor, keeps: torch.Tensor) -> torch.Tensor:
        """Which candidate answers, from phi and ``keeps`` [n, N + 1]: int64 [n]."""
        return first_or_nearest(phi, keeps, self.accepts(phi, keeps), (self.lo + self.hi) / 2)


EVERYWHERE = Interval(-math.inf, math.inf)
"""Accepts the first candidate that keeps the label."""


def first_or_nearest(
    phi: torch.Tensor, usable: torch.Tensor, accepted: torch.Tensor, wanted: float | torch.Tensor
) -> torch.Tensor:
    """Of candidates [n, M] the first accepted one; where there is none, the usable one whose phi is nearest: int64 [n].

    Of equally near ones the first.
    """
    nearest = (phi - wanted).abs().masked_fill(~usable, math.inf).argmin(dim=1)
    return accepted.byte().argmax(dim=1).where(accepted.any(dim=1), nearest)


def take(candidates: Candidates, index: torch.Tensor) -> Answer:
    """The answers that are one candidate each: index int64 [n]."""
    return Answer(candidates.logits[torch.arange(len(candidates)), index], index == candidates.count)


def accepted(candidates: Candidates, rule: Rule) -> torch.Tensor:
    """Which reconstructions are there and end an image's draws: bool [n, N]."""
    return rule.accepts(candidates.phi[:, :-1], candidates.keeps[:, :-1], candidates.rank)


def settled(candidates: Candidates, until: Rule | None) -> torch.Tensor:
    """Which images need no more candidates: all are drawn, or one that was drawn is accepted; bool [n]."""
    whole = candidates.drawn == candidates.count
    if until is None:
        return whole
    return whole | (accepted(candidates, until).any(dim=1) if until.reconstructs else candidates.drawn >= 0)


def answer(candidates: Candidates, rule: Rule) -> Answer:
    """What the images are answered. Raises ValueError where that depends on candidates that were not drawn."""
    check_rule(rule)
    if not settled(candidates, rule).all():
        raise ValueError("the answer depends on candidates that were not drawn")
    return rule.answer(candidates)


def reconstructions_needed(candidates: Candidates, rule: Rule) -> torch.Tensor:
    """Reconstructions that the choice needs, drawn in order: up to the first accepted one, or all N; int64 [n]."""
    if not rule.reconstructs:
        return torch.zeros(len(candidates), dtype=torch.int64)
    refused_before = (accepted(candidates, rule).cumsum(dim=1) == 0).sum(dim=1)
    return (refused_before + 1).clamp(max=candidates.count)


def check_rule(rule: Rule) -> None:
    """Raise ValueError where that is an interval that is none."""
    if isinstance(rule, tuple) and rule != EVERYWHERE and not -math.inf < rule[0] <= rule[1] < math.inf:
        raise ValueError(f"interval must be two finite numbers lo <= hi, or EVERYWHERE, not {tuple(rule)}")
