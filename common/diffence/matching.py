"""A rule beside the paper's: answers whose phi follows one fixed distribution, whatever the image.

Inside an interval the phi of the answers still depends on the image, so whoever asks for many copies of it learns more.
Here each image has a target that is drawn from one distribution, and the candidate answers that meets it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from common.diffence.rule import Answer, Candidates, first_or_nearest, take


@dataclass(frozen=True, eq=False)
class Matching:
    """The label-preserving reconstruction whose phi meets the image's target; the raw answer only if there is none.

    phi:        float64 [m], rising: the distribution that targets are drawn from, by the image's rank
    tolerance:  the first candidate answers whose phi lies so near to the target, as a share of the distribution on each
                side; where none does, the nearest one
    exact:      the top one of the chosen logits is moved so that their phi is the target itself
    """

    phi: torch.Tensor
    tolerance: float
    exact: bool = False
    keeps_labels: ClassVar[bool] = True
    reconstructs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.phi.ndim != 1 or len(self.phi) == 0 or not (self.phi.diff() >= 0).all() or self.phi.isnan().any():
            raise ValueError("phi must be [m], m >= 1, and rising")
        if not 0 <= self.tolerance <= 1:
            raise ValueError(f"tolerance must be a share, 0 … 1, not {self.tolerance}")

    def target(self, rank: torch.Tensor | None) -> torch.Tensor:
        """What is wanted of images of these ranks: float64 [n]. Raises ValueError where there are none."""
        return self._quantile(_given(rank))

    def window(self, candidates: Candidates) -> torch.Tensor:
        return self._window(_given(candidates.rank))

    def accepts(self, phi: torch.Tensor, keeps: torch.Tensor, rank: torch.Tensor | None) -> torch.Tensor:
        lo, hi = self._window(_given(rank)).T
        return keeps & (phi >= lo[:, None]) & (phi <= hi[:, None])

    def answer(self, candidates: Candidates) -> Answer:
        usable, target = candidates.keeps.clone(), self.target(candidates.rank)
        usable[:, -1] = ~usable[:, :-1].any(dim=1)
        met = self.accepts(candidates.phi, usable, candidates.rank)
        logits, raw = take(candidates, first_or_nearest(candidates.phi, usable, met, target[:, None]))
        return Answer(moved_to(logits, target) if self.exact else logits, raw)

    def _window(self, rank: torch.Tensor) -> torch.Tensor:
        return torch.stack([self._quantile(rank - self.tolerance), self._quantile(rank + self.tolerance)], dim=1)

    def _quantile(self, rank: torch.Tensor) -> torch.Tensor:
        place = rank.clamp(0, 1) * (len(self.phi) - 1)
        below = place.floor().long()
        return self.phi[below].lerp(self.phi[(below + 1).clamp(max=len(self.phi) - 1)], place - below)


def _given(rank: torch.Tensor | None) -> torch.Tensor:
    if rank is None:
        raise ValueError("targets depend on the images' ranks, and there are none")
    return rank


def moved_to(logits: torch.Tensor, phi: torch.Tensor) -> torch.Tensor:
    """Logits [n, K] whose top one is moved so that their phi is the given one, float64 [n].

    The others stay as they are. The top one stays the top: a phi that would need less is met as nearly as can be.
    """
    top = logits.argmax(dim=1, keepdim=True)
    others = logits.scatter(1, top, -torch.inf)
    wanted = (others.double().logsumexp(dim=1) + phi).to(logits.dtype)
    least = others.amax(dim=1).nextafter(torch.tensor(torch.inf, dtype=logits.dtype))
    return logits.scatter(1, top, wanted.maximum(least)[:, None])
