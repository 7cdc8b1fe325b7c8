"""Training a classifier by mini-batches: the recipe that every defence follows or varies."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from common.runtime import rng
from common.runtime.config import Batch, Fraction, NonNegativeFloat, Positive, PositiveFloat, Strict, later
from common.runtime.images import Labelled, to_float
from common.runtime.progress import Bar
from common.training.augmentation import Augmentation, changes_of_epoch
from common.training.jobs import Job
from common.training.loop import run_rounds

ANSWERED_PIXELS = 1000 * 32 * 32  # of images that a classifier is asked about at once: they bound its memory


class TrainingBasics(Strict):
    """What every defence's YAML says about training a classifier."""

    epochs: Positive
    batch_size: Annotated[Batch, Field(ge=2)]
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    checkpoint_selection: Literal["validation", "last", "test"]


class TrainingConfig(TrainingBasics):
    """What those may say besides that train by ``train_classifier``; without it they train by Adam, as published.

    momentum:    of sgd alone, which is without Nesterov's
    milestones:  of step alone: epochs, from 0, that begin with the learning rate multiplied by ``factor``
    """

    optimizer: Literal["adam", "sgd"] = later("adam")
    momentum: Fraction | None = later(None)
    schedule: Literal["none", "step", "cosine"] = later("none")
    milestones: Annotated[list[Positive], Field(min_length=1)] | None = later(None)
    factor: Annotated[float, Field(gt=0, lt=1)] | None = later(None)
    augmentation: Augmentation = later("none")

    @model_validator(mode="after")
    def _settings_belong_together(self) -> "TrainingConfig":
        _require_with("optimizer: sgd", self.optimizer == "sgd", momentum=self.momentum)
        _require_with("schedule: step", self.schedule == "step", milestones=self.milestones, factor=self.factor)
        stones = self.milestones or []
        if stones != sorted(set(stones)) or any(epoch >= self.epochs for epoch in stones):
            raise ValueError(f"milestones {stones} must rise, each below epochs ({self.epochs})")
        return self

    def rate_at(self, epoch: int) -> float:
        """The learning rate of an epoch, from 0, as of torch's MultiStepLR, and of CosineAnnealingLR down to 0."""
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        if self.milestones is not None and self.factor is not None:
            return self.learning_rate * self.factor ** bisect_right(self.milestones, epoch)
        return self.learning_rate


def _require_with(setting: str, chosen: bool, **values: Any) -> None:
    """Raise ValueError where values that a setting needs are missing, or are there without it."""
    for name, value in values.items():
        if chosen and value is None:
            raise ValueError(f"{setting} needs {name}")
        if not chosen and value is not None:
            raise ValueError(f"{name} is for {setting} alone")


def shuffled_batches(count: int, batch_size: int, *, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Every index 0 … count - 1 once, in random order, in batches of nearly equal size and at most ``batch_size``.

    Equal sizes, because a last batch of one or two samples upsets batch normalisation.
    """
    order = torch.randperm(count, generator=generator)
    return order.tensor_split(num_batches(count, batch_size))


def num_batches(count: int, batch_size: int) -> int:
    return -(-count // batch_size)


def batches(data: Labelled, batch_size: int, *, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
    """Shuffled (images in [0, 1], labels, indices into the data) on the data's device."""
    for indices in shuffled_batches(len(data), batch_size, generator=generator):
        there = indices.to(data.images.device)
        yield to_float(data.images[there]), data.labels[there], there


@torch.no_grad()
def answer(classifier: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Logits [n, K] of uint8 images [n, C, H, W], in evaluation mode.

    How many are asked about at once depends on their size alone, so an answer keeps its bits.
    """
    classifier.eval()
    at_once = max(1, min(1000, ANSWERED_PIXELS // images.shape[2:].numel()))
    return torch.cat([classifier(to_float(part)) for part in images.split(at_once)])


def accuracy(classifier: nn.Module, data: Labelled) -> float:
    """Fraction of labels that are the classifier's argmax, in evaluation mode."""
    return int((answer(classifier, data.images).argmax(dim=1) == data.labels).sum()) / len(data)


def selection_score(classifier: nn.Module, selection: Labelled | None) -> Callable[[], float] | None:
    """The accuracy that picks the epoch, or None where the last one is kept."""
    return None if selection is None else lambda: accuracy(classifier, selection)


def optimizer_of(parameters: Any, config: TrainingConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return adam(parameters, config)
    momentum = config.momentum or 0.0
    return torch.optim.SGD(parameters, lr=config.learning_rate, momentum=momentum, weight_decay=config.weight_decay)


def adam(parameters: Any, config: TrainingBasics) -> torch.optim.Adam:
    """The optimiser of every published classifier.

    Not the fused one, whose CPU kernel takes moments to lie in memory as their weights do: those of a resumed training
    do not, and would be mixed up.
    """
    return torch.optim.Adam(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, amsgrad=True)


BatchLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]
"""(logits [B, K], labels [B], indices into the training set [B], epoch) -> loss, a scalar"""


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor, epoch: int) -> torch.Tensor:
    return F.cross_entropy(logits, labels)


def train_classifier(
    job: Job,
    classifier: nn.Module,
    data: Labelled,
    config: TrainingConfig,
    *,
    selection: Labelled | None,
    seed: int,
    loss: BatchLoss = cross_entropy,
) -> None:
    """Train by mini-batches with a loss per batch; the epoch most accurate on ``selection`` is kept, or the last."""
    optimizer = optimizer_of(classifier.parameters(), config)

    def train_epoch(epoch: int, bar: Bar) -> dict[str, float]:
        classifier.train()
        rate = optimizer.param_groups[0]["lr"] = config.rate_at(epoch)
        augment = changes_of_epoch(config.augmentation, data, seed=seed, epoch=epoch)
        total, correct = 0.0, 0
        for images, labels, indices in batches(
            data, config.batch_size, generator=rng.torch_generator(seed, "batches", epoch)
        ):
            logits = classifier(augment(images, indices))
            batch_loss = loss(logits, labels, indices, epoch)
            optimizer.zero_grad(set_to_none=True)
            batch_loss.backward()
            optimizer.step()
            total += batch_loss.item() * len(labels)
            correct += int((logits.argmax(dim=1) == labels).sum())
            bar.update()
        scheduled = {} if config.schedule == "none" else {"learning_rate": rate}
        return {"loss": total / len(data), "train_accuracy": correct / len(data), **scheduled}

    run_rounds(
        job,
        seed=seed,
        rounds=config.epochs,
        steps_per_round=num_batches(len(data), config.batch_size),
        stateful={"classifier": classifier, "optimizer": optimizer},
        train_round=train_epoch,
        score=selection_score(classifier, selection),
        kept=lambda: {"state_dict": classifier.get_submodule("network").state_dict()},
    )
