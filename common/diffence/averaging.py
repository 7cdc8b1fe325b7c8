"""Another answer of the paper's (section III-B3): the mean of the reconstructions' probabilities.

Its label may be another than that of the raw input.
"""

import torch

from common.diffence.rule import EVERYWHERE, Answer, Candidates


class Averaging:
    """The logarithm of the mean softmax of all N reconstructions, whatever their labels."""

    keeps_labels = False
    reconstructs = True

    def accepts(self, phi: torch.Tensor, keeps: torch.Tensor, rank: torch.Tensor | None = None) -> torch.Tensor:
        return torch.zeros_like(keeps)

    def window(self, candidates: Candidates) -> torch.Tensor:
        return EVERYWHERE.window(candidates)

    def answer(self, candidates: Candidates) -> Answer:
        of_each = candidates.logits[:, :-1].double().log_softmax(dim=2)
        mean = of_each.logsumexp(dim=1) - torch.tensor(candidates.count).log()
        return Answer(mean.to(candidates.logits.dtype), torch.zeros(len(candidates), dtype=torch.bool))
