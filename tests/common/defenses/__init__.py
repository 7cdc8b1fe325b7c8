"""A training in miniature: a few images of 8x8 pixels, three classes, a network of width 4."""

import torch

from common.defenses.base import Task
from common.models.classifiers import build_classifier
from common.models.config import ClassifierConfig
from common.runtime import checkpoints
from common.runtime.images import ImageSpec, Labelled
from common.training.jobs import Job
from common.training.provenance import Provenance
from tests.miniature import TINY

SPEC = ImageSpec(3, 1, 8, (0.4,), (0.3,))
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


UNDEFENDED = "undefended.pth.tar"


def provenance(**known):
    """What a checkpoint is made from, as far as a test cares."""
    return Provenance(**({"dataset": "digits", "partition": "", "seed": 0, "precision": "fp32"} | known))


def samples(count, *, seed=0):
    draws = generator(seed)
    images = torch.randint(256, (count, 1, 8, 8), generator=draws).to(torch.uint8)
    return Labelled(images, torch.randint(3, (count,), generator=draws))


def new_classifier(seed=0, *, group_norm=False, model="resnet"):
    return build_classifier(model, NETWORKS, SPEC, seed=seed, group_norm=group_norm)


def make_task(folder, config, *, group_norm=False, seed=0, model="resnet"):
    members = samples(20, seed=1)
    return Task(
        job=Job(folder / "defense.pth.tar", provenance(seed=seed, settings=config.model_dump())),
        config=config,
        new_classifier=lambda seed: new_classifier(seed, group_norm=group_norm, model=model),
        members=members,
        reference=samples(12, seed=2),
        whole_reference=samples(15, seed=2),
        tuning_members=Labelled(members.images[5:15], members.labels[5:15]),
        selection=None,
        undefended=lambda: checkpoints.read(folder / UNDEFENDED, expect={}).content["state_dict"],
        seed=seed,
        device=torch.device("cpu"),
    )


class Silent:
    """A progress bar that nobody sees."""

    def update(self):
        pass
