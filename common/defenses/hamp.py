"""HAMP (Chen, Pattabiraman, NDSS 2024): train on uncertain labels, reward uncertain answers, and hide the rest.

The test-time modification replaces the values of an answer by those of an answer to random pixels, keeping their order.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from common.defenses.base import Defense, LabelKeeping, Task, train_on_members, with_clear_top
from common.runtime import rng
from common.runtime.config import NonNegativeFloat
from common.training.classifier import TrainingConfig

STEP = 0.01  # in which the true class's share of a soft label is lowered


class HampConfig(TrainingConfig):
    gamma: Annotated[float, Field(ge=0, lt=1)]  # entropy of the soft labels, as a share of the greatest one
    alpha: NonNegativeFloat  # weight of the answers' entropy
    kl_reduction: Literal["batchmean", "mean"]  # mean over samples, or (as published) over samples and classes
    test_time_modification: bool


def true_class_share(num_classes: int, gamma: float) -> float:
    """The greatest p, in steps of 0.01, for which [p, rest spread evenly] has entropy >= gamma log K; 1 for gamma 0."""
    if gamma == 0:
        return 1.0  # the hard label
    for hundredths in range(99, 0, -1):
        p = hundredths * STEP
        rest = (1 - p) / (num_classes - 1)
        if -p * math.log(p) - (1 - p) * math.log(rest) >= gamma * math.log(num_classes) and p >= rest:
            return p
    return 1 / num_classes  # gamma asks for more than steps of 0.01 give: the uniform label


def soft_labels(labels: torch.Tensor, *, num_classes: int, gamma: float) -> torch.Tensor:
    """Labels [B] -> probabilities [B, K]."""
    p = true_class_share(num_classes, gamma)
    spread = torch.full((len(labels), num_classes), (1 - p) / (num_classes - 1), device=labels.device)
    return spread.scatter(1, labels[:, None], p)


def hamp_loss(logits: torch.Tensor, labels: torch.Tensor, config: HampConfig) -> torch.Tensor:
    """KL(soft label || answer) - alpha * mean entropy of the answers; logits [B, K], labels [B]."""
    target = soft_labels(labels, num_classes=logits.shape[1], gamma=config.gamma)
    log_p = logits.log_softmax(dim=1)
    entropy = -(log_p.exp() * log_p).sum(dim=1).mean()
    divergence = F.kl_div(log_p, target, reduction="sum")
    count = len(log_p) if config.kl_reduction == "batchmean" else log_p.numel()
    return divergence / count - config.alpha * entropy


class HampOutput(LabelKeeping):
    """Answers with the sorted logits of a random image, put in the order of the classifier's own logits.

    The random image of a sample is named by the sample and the seed. The ranking is kept, and so the label, also by a
    softmax of the answer.
    """

    def __init__(self, classifier: nn.Module, *, seed: int) -> None:
        super().__init__(classifier)
        self.seed = seed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] in [0, 1] -> logits [B, K]."""
        order = self.classifier(x).argsort(dim=1, descending=True, stable=True)  # of equal logits the first class
        values = self.classifier(self._random_images(x)).sort(dim=1, descending=True).values
        if values.shape[1] > 1:
            values = with_clear_top(values)  # a tie at the top could hand the label to an earlier class
        return torch.empty_like(values).scatter(1, order, values)

    def _random_images(self, x: torch.Tensor) -> torch.Tensor:
        generators = [rng.numpy_generator(self.seed, "hamp", rng.sample_key(image)) for image in x]
        images = [generator.random(x.shape[1:], dtype=np.float32) for generator in generators]
        return torch.from_numpy(np.stack(images)).to(x)


def wrap(classifier: nn.Module, state: dict[str, Any], config: HampConfig, *, seed: int, path: Path) -> nn.Module:
    return HampOutput(classifier, seed=seed) if config.test_time_modification else classifier


def train(task: Task) -> None:
    train_on_members(task, loss=lambda logits, labels, indices, epoch: hamp_loss(logits, labels, task.config))


DEFENSE = Defense(config=HampConfig, train=train, wrap=wrap)
