"""The least that a fence can say and keep the label: the label alone, with the same confidence for every image.

No attacker learns more from it than from labels, so it shows the floor of every fence that keeps them.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from common.diffence.matching import moved_to
from common.diffence.rule import EVERYWHERE, Answer, Candidates


@dataclass(frozen=True)
class LabelAlone:
    """Logits that are the same for all classes but the raw label, whose confidence is ``phi``."""

    phi: float
    keeps_labels: ClassVar[bool] = True
    reconstructs: ClassVar[bool] = False

    def accepts(self, phi: torch.Tensor, keeps: torch.Tensor, rank: torch.Tensor | None = None) -> torch.Tensor:
        return torch.ones_like(keeps)

    def window(self, candidates: Candidates) -> torch.Tensor:
        return EVERYWHERE.window(candidates)

    def answer(self, candidates: Candidates) -> Answer:
        raw = candidates.logits[:, -1]
        label = torch.nn.functional.one_hot(raw.argmax(dim=1), raw.shape[1]).to(raw.dtype)
        wanted = torch.full((len(candidates),), self.phi, dtype=torch.float64)
        return Answer(moved_to(label, wanted), torch.zeros(len(candidates), dtype=torch.bool))
