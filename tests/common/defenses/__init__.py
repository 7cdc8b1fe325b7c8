"""A training in miniature: a few images of 8x8 pixels, three classes, a network of width 4."""

import torch

from common.config import ClassifierConfig
from common.datasets import DatasetSpec
from common.defenses.base import Task
from common.models import build_classifier
from common.training import Job, Labelled
from tests.miniature import TINY

SPEC = DatasetSpec(3, 1, 8, (0.4,), (0.3,), lambda folder: None)
NETWORKS = ClassifierConfig.model_validate(TINY["classifier"] | {"resnet": {"width": 4, "blocks": [1]}})
TRAINING = {
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "weight_decay": 1e-6,
    "checkpoint_selection": "last",
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def samples(count, *, seed=0):
    draws = generator(seed)
    images = torch.randint(256, (count, 1, 8, 8), generator=draws).to(torch.uint8)
    return Labelled(images, torch.randint(3, (count,), generator=draws))


def new_classifier(seed=0, *, group_norm=False, model="resnet"):
    return build_classifier(model, NETWORKS, SPEC, seed=seed, group_norm=group_norm)


def make_task(folder, config, *, group_norm=False, seed=0, model="resnet"):
    settings = {"seed": seed, "settings": config.model_dump()}
    members = samples(20, seed=1)
    return Task(
        job=Job(folder / "defense.pth.tar", settings),
        config=config,
        new_classifier=lambda seed: new_classifier(seed, group_norm=group_norm, model=model),
        members=members,
        reference=samples(12, seed=2),
        tuning_members=Labelled(members.images[5:15], members.labels[5:15]),
        selection=None,
        undefended=folder / "undefended.pth.tar",
        seed=seed,
        device=torch.device("cpu"),
    )


class Silent:
    """A progress bar that nobody sees."""

    def update(self):
        pass
