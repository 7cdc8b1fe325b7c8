"""The paper's rule: which of an image's candidates answers.

here              paper
y_0               the label of the raw input, which is what the fenced classifier always answers
candidates        the classifier's logits on N reconstructions of x, and on x itself, the last resort
phi               logit-scaled confidence, log p_top - log(1 - p_top)
interval          [lo, hi] of phi in which members and non-members look alike
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch


class Interval(NamedTuple):
    """The values of phi that are accepted, both ends included."""

    lo: float
    hi: float


EVERYWHERE = Interval(-math.inf, math.inf)


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
    """

    logits: torch.Tensor
    drawn: torch.Tensor

    @classmethod
    def judged(cls, logits: torch.Tensor, drawn: torch.Tensor, phi: torch.Tensor) -> "Candidates":
        """Candidates whose phi, float64 [n, N + 1], has been computed already."""
        candidates = cls(logits, drawn)
        candidates.__dict__["phi"] = phi  # where a cached property keeps its value
        return candidates

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, rows: torch.Tensor | slice) -> "Candidates":
        return Candidates(self.logits[rows], self.drawn[rows])

    @classmethod
    def cat(cls, parts: Iterable["Candidates"]) -> "Candidates":
        """The images of all parts, one after the other."""
        parts = list(parts)
        return cls(torch.cat([part.logits for part in parts]), torch.cat([part.drawn for part in parts]))

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

    def accepted(self, interval: Interval) -> torch.Tensor:
        """Which reconstructions keep the raw label and lie in the interval: bool [n, N]."""
        return inside(self.phi, self.keeps, interval)[:, :-1]


def select(candidates: Candidates, interval: Interval) -> torch.Tensor:
    """Which candidate answers: indices int64 [n].

    Of the candidates with the raw label, the first whose phi is inside the interval; if there is none, the one whose
    phi is nearest to the interval's middle. The raw candidate has the raw label, so there always is one.

    Raises ValueError where the choice depends on candidates that were not drawn.
    """
    check_interval(interval)
    undrawn = candidates.drawn < candidates.count
    if (undrawn & ~candidates.accepted(interval).any(dim=1)).any():
        raise ValueError("the choice depends on candidates that were not drawn")
    return choose(candidates.phi, candidates.keeps, interval)


def choose(phi: torch.Tensor, keeps: torch.Tensor, interval: Interval) -> torch.Tensor:
    """``select`` from phi and ``keeps`` [n, N + 1] alone: int64 [n]."""
    accepted = inside(phi, keeps, interval)
    first = accepted.byte().argmax(dim=1)
    if interval == EVERYWHERE:
        return first
    distance = (phi - (interval.lo + interval.hi) / 2).abs().masked_fill(~keeps, math.inf)
    return first.where(accepted.any(dim=1), distance.argmin(dim=1))


def inside(phi: torch.Tensor, keeps: torch.Tensor, interval: Interval) -> torch.Tensor:
    """Which label-preserving candidates have a phi in the interval: bool, in the shape of both."""
    return keeps & (phi >= interval.lo) & (phi <= interval.hi)


def take(candidates: Candidates, index: torch.Tensor) -> torch.Tensor:
    """The chosen logits: index [n] -> [n, K]."""
    return candidates.logits[torch.arange(len(candidates)), index]


def reconstructions_needed(candidates: Candidates, interval: Interval) -> torch.Tensor:
    """Reconstructions that the choice needs, drawn in order: up to the first accepted one, or all N; int64 [n]."""
    refused_before = (candidates.accepted(interval).cumsum(dim=1) == 0).sum(dim=1)
    return (refused_before + 1).clamp(max=candidates.count)


def check_interval(interval: tuple[float, float]) -> None:
    """Raise ValueError where that is no interval."""
    lo, hi = interval
    if tuple(interval) != tuple(EVERYWHERE) and not -math.inf < lo <= hi < math.inf:
        raise ValueError(f"interval must be two finite numbers lo <= hi, or EVERYWHERE, not {tuple(interval)}")
