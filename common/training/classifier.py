"""Training a classifier by mini-batches: the recipe that every defence follows or varies."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from common.runtime import rng
from common.runtime.config import Batch, NonNegativeFloat, Positive, PositiveFloat, Strict
from common.runtime.images import Labelled, to_float
from common.training.jobs import Job
from common.training.loop import run_rounds


class TrainingConfig(Strict):
    """What every defence's YAML says about training a classifier."""

    epochs: Positive
    batch_size: Annotated[Batch, Field(ge=2)]
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    checkpoint_selection: Literal["validation", "last", "test"]


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
def answer(classifier: nn.Module, images: torch.Tensor, *, batch_size: int = 1000) -> torch.Tensor:
    """Logits [n, K] of uint8 images [n, C, H, W], in evaluation mode."""
    classifier.eval()
    return torch.cat([classifier(to_float(part)) for part in images.split(batch_size)])


def accuracy(classifier: nn.Module, data: Labelled) -> float:
    """Fraction of labels that are the classifier's argmax, in evaluation mode."""
    return int((answer(classifier, data.images).argmax(dim=1) == data.labels).sum()) / len(data)


def selection_score(classifier: nn.Module, selection: Labelled | None) -> Callable[[], float] | None:
    """The accuracy that picks the epoch, or None where the last one is kept."""
    return None if selection is None else lambda: accuracy(classifier, selection)


def adam(parameters: Any, config: TrainingConfig) -> torch.optim.Adam:
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
    """Train by mini-batch Adam with a loss per batch; the epoch most accurate on ``selection`` is kept, or the last."""
    optimizer = adam(classifier.parameters(), config)

    def train_epoch(epoch: int, bar: tqdm) -> dict[str, float]:
        classifier.train()
        total, correct = 0.0, 0
        for images, labels, indices in batches(
            data, config.batch_size, generator=rng.torch_generator(seed, "batches", epoch)
        ):
            logits = classifier(images)
            batch_loss = loss(logits, labels, indices, epoch)
            optimizer.zero_grad(set_to_none=True)
            batch_loss.backward()
            optimizer.step()
            total += batch_loss.item() * len(labels)
            correct += int((logits.argmax(dim=1) == labels).sum())
            bar.update()
        return {"loss": total / len(data), "train_accuracy": correct / len(data)}

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
