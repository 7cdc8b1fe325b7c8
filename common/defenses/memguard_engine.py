"""MemGuard's phase I for many answers at once: the same numbers as answer by answer, some hundred times as fast.

``Compact`` asks the defence classifier quickly, ``Place`` is where answers are, ``Walk`` is who is still on the way.
What is descended, and when it ends, stands in memguard.py.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class Compact:
    """A defence classifier as phase I asks it, some hundred times for an answer: the same function, and its gradient.

    Most units of the first layer are on one side of 0 for all sorted probabilities there are. Those below it are left
    out. Those above it are linear there, so the second layer takes them straight from the probabilities, which pass the
    first ReLU as they are.

    A row's bits do not depend on its company, since a walk of some hundred steps makes much of a rounding: matrix
    products round alike for at least 4 rows and widths that are multiples of 16 (other kernels do the rest).
    """

    def __init__(self, guess: nn.Module) -> None:
        first, second, third, last = (part for part in guess.modules() if isinstance(part, nn.Linear))
        through = torch.eye(first.in_features).to(first.weight)
        ranks = through.diag().cumsum(dim=0)  # 1 … K
        corners = (ranks <= ranks[:, None]) / ranks[:, None]  # [K, K]: k equal ones; sorted probabilities lie between
        h = first(corners)
        above = (h >= 0).all(dim=0)
        bent = ~above & (h > 0).any(dim=0)
        straight = second.weight[:, above]
        filler = (0, -first.in_features % 16)
        self.layers = [
            (F.pad(torch.cat([first.weight[bent], through]), filler), torch.cat([first.bias[bent], 0 * ranks])),
            (
                torch.cat([second.weight[:, bent], straight @ first.weight[above]], dim=1),
                second.bias + straight @ first.bias[above],
            ),
            (third.weight, third.bias),
        ]
        self.weight, self.bias = last.weight, last.bias  # of the last layer

    def __call__(self, p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities [B, K] in any order -> the logit [B] and its gradient by them [B, K]."""
        count, classes = p.shape
        ordered, order = p.sort(dim=1, descending=True)
        h = F.pad(ordered, (0, -classes % 16, 0, max(0, 4 - count)))
        outputs = []
        for weight, bias in self.layers:
            h = F.linear(h, weight, bias).relu_()
            outputs.append(h)
        d = (h * self.weight).sum(dim=1) + self.bias
        slope = self.weight
        for (weight, _), output in zip(reversed(self.layers), reversed(outputs), strict=True):
            slope = (slope * output.sign()) @ weight
        return d[:count], torch.empty_like(p).scatter_(1, order, slope[:count, :classes])


class Place(NamedTuple):
    """Where samples are in phase I: logits [B, K], the label's first, and what follows from them."""

    z: torch.Tensor
    p: torch.Tensor  # softmax [B, K]
    lead: torch.Tensor  # of the label over the greatest other logit, [B]
    d: torch.Tensor  # the guess [B]
    slope: torch.Tensor  # its gradient by p, [B, K]

    @classmethod
    def at(cls, z: torch.Tensor, guess: Compact) -> "Place":
        p = z.softmax(dim=1)
        return cls(z, p, z[:, 0] - z[:, 1:].amax(dim=1), *guess(p))


class Walk(NamedTuple):
    """The samples still on their way in phase I."""

    rows: torch.Tensor  # which of the batch they are, [B']
    origin: torch.Tensor  # their own logits [B', K]
    p: torch.Tensor  # and probabilities
    member: torch.Tensor  # whether the guess takes these for a member's, bool [B']
    z: torch.Tensor  # where they are, [B', K]
    c3: torch.Tensor  # [B']
    steps: torch.Tensor  # taken with this c3, [B']

    @classmethod
    def start(cls, z: torch.Tensor, guess: Compact, *, c3: float) -> "Walk":
        rows, here = torch.arange(len(z), device=z.device), Place.at(z, guess)
        return cls(rows, z, here.p, here.d > 0, z.clone(), torch.full_like(here.d, c3), torch.zeros_like(rows))


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors [B, K] at length 1, however short they are; zero stays zero."""
    scaled = (vectors / vectors.abs().amax(dim=1, keepdim=True)).nan_to_num()  # whose squares do not underflow
    return scaled / scaled.norm(dim=1, keepdim=True).clamp(min=1)
