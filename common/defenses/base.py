"""What a defence is: a configuration, a way to train, and perhaps a wrapper round the trained classifier's answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from common.config import TrainingConfig
from common.models import Classifier
from common.training import Job, Labelled


@dataclass(frozen=True)
class Task:
    """What a defence gets to train with. All parts are on the classifier's device."""

    job: Job
    config: Any  # an instance of the defence's configuration model
    classifier: Classifier  # with its initial weights
    members: Labelled
    reference: Labelled
    selection: Labelled | None  # for choosing the epoch; None keeps the last
    seed: int
    device: torch.device


@dataclass(frozen=True)
class Defense:
    config: type[TrainingConfig]
    train: Callable[[Task], None]
