"""RelaxLoss (Chen, Yu, Fritz, ICLR 2022): keep the training loss at a target level instead of driving it to zero."""

from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional as F

from common.defenses.base import Defense, Task, train_on_members
from common.runtime.config import NonNegativeFloat
from common.training.classifier import TrainingConfig


class RelaxLossConfig(TrainingConfig):
    alpha: NonNegativeFloat  # the level
    upper: Annotated[float, Field(gt=0, le=1)]  # greatest true-class probability of a flattened posterior


def relax_loss(logits: torch.Tensor, labels: torch.Tensor, epoch: int, *, alpha: float, upper: float) -> torch.Tensor:
    """Loss of a batch, logits [B, K] and labels [B] (the paper's algorithm 1).

    Even epochs: gradient ascent below the level, descent above it, |CE - alpha|. Odd epochs: descent above the level;
    below it posterior flattening, in which misclassified samples are drawn to a softened copy q of their own posterior
    (gradient flows through q too) while the cross-entropy of all is raised.
    """
    losses = F.cross_entropy(logits, labels, reduction="none")  # [B]
    loss = losses.mean()
    if epoch % 2 == 0:
        return (loss - alpha).abs()
    if loss > alpha:
        return loss
    correct = (logits.argmax(dim=1) == labels).to(logits.dtype)
    flattened = -(_softened(logits, labels, upper) * logits.log_softmax(dim=1)).sum(dim=1)  # [B]
    return ((1 - correct) * flattened - losses).mean()


def _softened(logits: torch.Tensor, labels: torch.Tensor, upper: float) -> torch.Tensor:
    """q [B, K]: the true-class probability, clamped to [0, upper], and the rest spread evenly."""
    of_label = logits.softmax(dim=1).gather(1, labels[:, None]).clamp(0, upper)  # [B, 1]
    others = ((1 - of_label) / (logits.shape[1] - 1)).expand_as(logits)
    return others.scatter(1, labels[:, None], of_label)


def train(task: Task) -> None:
    config: RelaxLossConfig = task.config

    def loss(logits: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor, epoch: int) -> torch.Tensor:
        return relax_loss(logits, labels, epoch, alpha=config.alpha, upper=config.upper)

    train_on_members(task, loss=loss)


DEFENSE = Defense(config=RelaxLossConfig, train=train)
