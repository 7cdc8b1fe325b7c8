"""SELENA (Tang et al., USENIX Security 2022): distil teachers that each answer only for samples they never saw."""

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import model_validator
from torch import nn
from torch.nn import functional as F

from common.defenses.base import Defense, Task, train_on_members
from common.runtime import checkpoints, distributed, ownership, rng
from common.runtime.config import Few, later
from common.runtime.sharing import share_out
from common.training.classifier import TrainingConfig, answer, train_classifier
from common.training.jobs import Job, is_done, teachers


class SelenaConfig(TrainingConfig):
    teachers: Few  # K
    left_out: Few  # L, the teachers that never see a given member
    soft_labels: Literal["probabilities", "logits"]  # what is averaged over them; logits as in the published code
    kl_reduction: Literal["batchmean", "mean"] = later("batchmean")  # over samples, or (published) over classes too

    @model_validator(mode="after")
    def _some_teacher_sees_each_member(self) -> "SelenaConfig":
        if self.left_out >= self.teachers:
            raise ValueError(f"left_out ({self.left_out}) must be smaller than teachers ({self.teachers})")
        return self


def left_out(members: int, config: SelenaConfig, *, seed: int) -> np.ndarray:
    """bool [members, K]: which teachers never see a member, L of each row; numpy's legacy generator as published."""
    generator = np.random.RandomState(seed % 2**32)
    unseen = np.zeros((members, config.teachers), dtype=bool)
    for row in unseen:
        row[generator.choice(config.teachers, config.left_out, replace=False)] = True
    return unseen


def train(task: Task) -> None:
    config: SelenaConfig = task.config
    unseen = torch.from_numpy(left_out(len(task.members), config, seed=task.seed))

    def train_one(index: int) -> None:
        train_teacher(task, index, unseen[:, index])

    share_out(range(config.teachers), train_one, unit="teacher", desc=f"teachers of {task.job.title}")
    if not distributed.is_first():
        return
    targets = distillation_targets(task, unseen)
    share = 1 if config.kl_reduction == "batchmean" else 1 / targets.shape[1]

    def distillation(logits: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor, epoch: int) -> torch.Tensor:
        """The divergence from the soft labels, but for their entropy, which has no gradient."""
        return share * F.cross_entropy(logits, targets[indices])

    train_on_members(task, loss=distillation)


def teacher_job(task: Task, index: int) -> Job:
    """A teacher's own job: it does not depend on how the teachers' answers are used afterwards."""
    made_from = task.job.made_from
    of_student = {"soft_labels", "kl_reduction"}
    settings = {key: value for key, value in (made_from.settings or {}).items() if key not in of_student}
    made_from = made_from.model_copy(update={"settings": settings, "teacher": index})
    return Job(teachers(task.job.path) / f"{index:02}.pth.tar", made_from, task.job.tensorboard)


def train_teacher(task: Task, index: int, unseen: torch.Tensor) -> None:
    """Train teacher ``index`` on the members for which ``unseen`` (bool [members]) is false, if it is not there yet."""
    job = teacher_job(task, index)
    with ownership.locked(job.path):
        if is_done(job):
            return
        share = task.members[~unseen.to(task.device)]
        seed = rng.derive_seed(task.seed, "teacher", index)
        train_classifier(job, task.new_classifier(seed), share, task.config, selection=task.selection, seed=seed)


def distillation_targets(task: Task, unseen: torch.Tensor) -> torch.Tensor:
    """Soft labels [members, K'] on the device: the mean answer of the teachers that never saw the member."""
    return soft_labels(_teachers(task), task.members.images, unseen.to(task.device), averaged=task.config.soft_labels)


def _teachers(task: Task) -> Iterator[nn.Module]:
    """The trained teachers, one after the other in the same network."""
    teacher = task.new_classifier(task.seed)
    for index in range(task.config.teachers):
        path = teacher_job(task, index).path
        weights = checkpoints.read(path, expect={"state_dict": dict}).content["state_dict"]
        checkpoints.load_weights(teacher.network, weights, path=path)
        yield teacher


def soft_labels(
    teachers: Iterable[nn.Module], images: torch.Tensor, unseen: torch.Tensor, *, averaged: str
) -> torch.Tensor:
    """Probabilities [n, K'] of uint8 images [n, C, H, W]: each image's mean answer of the teachers that never saw it.

    unseen:    bool [n, teachers], as many true in each row
    averaged:  "probabilities" or "logits"
    """
    total: torch.Tensor | None = None
    for rows, teacher in zip(unseen.T, teachers, strict=True):
        answers = answer(teacher, images[rows])
        if averaged == "probabilities":
            answers = answers.softmax(dim=1)
        if total is None:
            total = answers.new_zeros(len(unseen), answers.shape[1])
        total[rows] += answers
    assert total is not None
    mean = total / unseen[0].sum()
    return mean if averaged == "probabilities" else mean.softmax(dim=1)


DEFENSE = Defense(config=SelenaConfig, train=train, shares_work=True)
