"""What a defence is: a configuration, a way to train, and perhaps a wrapper round the trained classifier's answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.models.classifiers import Classifier
from common.runtime.images import Labelled
from common.training.classifier import BatchLoss, TrainingBasics, cross_entropy, train_classifier
from common.training.jobs import Job


@dataclass(frozen=True)
class Task:
    """What a defence gets to train with. All parts are on the classifier's device."""

    job: Job
    config: Any  # an instance of the defence's configuration model
    new_classifier: Callable[[int], Classifier]  # with initial weights drawn from a seed
    members: Labelled
    reference: Labelled  # without the validation part
    whole_reference: Labelled
    tuning_members: Labelled  # members whose answers the held-out protocol fits no attack to and scores none on
    selection: Labelled | None  # for choosing the epoch; None keeps the last
    undefended: Callable[[], dict[str, torch.Tensor]]  # reads the undefended classifier's weights
    seed: int
    device: torch.device


def train_on_members(task: Task, *, loss: BatchLoss = cross_entropy) -> None:
    """Train a new classifier on all members with a loss per batch: what defences do that differ in the loss alone."""
    train_classifier(
        task.job,
        task.new_classifier(task.seed),
        task.members,
        task.config,
        selection=task.selection,
        seed=task.seed,
        loss=loss,
    )


def unwrapped(classifier: nn.Module, state: dict[str, Any], config: Any, *, seed: int, path: Path) -> nn.Module:
    """The classifier itself: the defence is in its weights."""
    return classifier


class LabelKeeping(nn.Module):
    """What changes a classifier's answers and keeps their labels: images [B, C, H, W] in [0, 1] -> logits [B, K]."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    @property
    def labelled_by(self) -> nn.Module:
        """The classifier itself, whose logits [B, K] have the same argmax; who wants labels alone asks that."""
        return self.classifier


def with_clear_top(z: torch.Tensor) -> torch.Tensor:
    """Logits [B, K >= 2], greatest first -> the same, the first raised to where a softmax keeps it above the second.

    Logits that differ by a rounding or two can have equal probabilities, and of equal ones the class that stands first
    would be the label.
    """
    second = z[:, 1]
    clear = (second + 64 * torch.finfo(z.dtype).eps).maximum(second.nextafter(torch.full_like(second, math.inf)))
    return torch.cat([z[:, 0].maximum(clear)[:, None], z[:, 1:]], dim=1)


@dataclass(frozen=True)
class Defense:
    """config:            the model of its YAML
    train:             leaves the job's checkpoint behind
    wrap:              (classifier, checkpoint, config, seed, path of the checkpoint) -> the classifier as it answers
    group_norm:        the classifier has GroupNorm where others have BatchNorm
    needs_undefended:  it protects the undefended classifier, which must be trained before
    needs_reference:   it learns from the reference set
    fp32_only:         its training is right in fp32 and with an uncompiled network only
    shares_work:       ``train`` shares its work out among the processes there are, else the first alone trains
    """

    config: type[TrainingBasics]
    train: Callable[[Task], None]
    wrap: Callable[..., nn.Module] = unwrapped
    group_norm: bool = False
    needs_undefended: bool = False
    needs_reference: bool = False
    fp32_only: bool = False
    shares_work: bool = False
