"""Optimisers, schedules and augmentation beside training loops that are written out."""

import math

import pytest
import torch
from torch.nn import functional as F

from common.defenses import DEFENSES
from common.runtime import checkpoints, rng
from common.runtime.images import to_float
from common.training.classifier import TrainingConfig, shuffled_batches, train_classifier
from tests.common.defenses import TRAINING, new_classifier, samples
from tests.common.training import job_at

EPOCHS = 6
SGD = {"optimizer": "sgd", "momentum": 0.9}
STEP = {"schedule": "step", "milestones": [2, 4], "factor": 0.5}
COSINE = {"schedule": "cosine"}
CROP_FLIP = {"augmentation": "crop_flip"}


def config(**settings):
    return TrainingConfig(**(TRAINING | {"epochs": EPOCHS, "learning_rate": 0.02, "weight_decay": 0.01} | settings))


def weights(folder, settings):
    job = job_at(folder)
    train_classifier(job, new_classifier(), samples(20, seed=1), settings, selection=None, seed=0)
    return checkpoints.read(job.path, expect={}).content["state_dict"]


def written_out(step, *, at_end=lambda: None, change=lambda image: image):
    """Train the same network batch by batch, ``step(parameters, gradients)`` doing what an optimiser does."""
    classifier, data = new_classifier().train(), samples(20, seed=1)
    parameters = list(classifier.parameters())
    update = step(parameters)
    for epoch in range(EPOCHS):
        for indices in shuffled_batches(20, 8, generator=rng.torch_generator(0, "batches", epoch)):
            loss = F.cross_entropy(classifier(to_float(data.images[indices])), data.labels[indices])
            update(torch.autograd.grad(loss, parameters), epoch)
        at_end()
    return classifier.network.state_dict()


def by_torch(optimizer, scheduler=None):
    """An optimiser of torch's with a scheduler of torch's."""
    made = []

    def step(parameters):
        made.append(optimizer(parameters))
        made.append(scheduler(made[0]) if scheduler else None)

        def update(gradients, epoch):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            made[0].step()

        return update

    return written_out(step, at_end=lambda: made[1].step() if made[1] else None)


def by_hand(rates, *, momentum, weight_decay):
    """v <- mu v + g + lambda w; w <- w - rate v."""

    def step(parameters):
        velocities = [torch.zeros_like(parameter) for parameter in parameters]

        @torch.no_grad()
        def update(gradients, epoch):
            for parameter, gradient, velocity in zip(parameters, gradients, velocities, strict=True):
                velocity.copy_(momentum * velocity + gradient + weight_decay * parameter)
                parameter -= rates[epoch] * velocity

        return update

    return written_out(step)


def assert_same(found, expected, *, exactly=False):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0 if exactly else 1e-4, atol=0 if exactly else 1e-5)


def test_without_further_settings_it_is_plain_adam_to_the_bit(tmp_path):
    expected = by_torch(lambda parameters: torch.optim.Adam(parameters, lr=0.02, weight_decay=0.01, amsgrad=True))
    assert_same(weights(tmp_path, config()), expected, exactly=True)


def test_defaults_that_are_written_out_are_not_written_down():
    """So that a checkpoint of an earlier version is recognised."""
    explicit = config(
        optimizer="adam", schedule="none", augmentation="none", momentum=None, milestones=None, factor=None
    )
    assert explicit.model_dump() == config().model_dump() and config().model_dump().keys() == TRAINING.keys()
    chosen = SGD | STEP | CROP_FLIP
    assert config(**chosen).model_dump().items() >= chosen.items()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_the_formula_without_nesterovs(tmp_path, momentum):
    found = weights(tmp_path, config(optimizer="sgd", momentum=momentum))
    assert_same(found, by_hand([0.02] * EPOCHS, momentum=momentum, weight_decay=0.01))


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({}, [0.02] * 6),
        (STEP, [0.02, 0.02, 0.01, 0.01, 0.005, 0.005]),
        (COSINE, [0.01 * (1 + c) for c in (1, math.sqrt(3) / 2, 0.5, 0, -0.5, -math.sqrt(3) / 2)]),
    ],
    ids=["none", "step", "cosine"],
)
def test_the_learning_rates_are_those_computed_by_hand_and_what_it_trains_with(tmp_path, settings, rates):
    wanted = config(**SGD, **settings)
    assert [wanted.rate_at(epoch) for epoch in range(EPOCHS)] == pytest.approx(rates)
    assert_same(weights(tmp_path, wanted), by_hand(rates, momentum=0.9, weight_decay=0.01))
    header, *rows = [line.split(",") for line in job_at(tmp_path).log_path.read_text().splitlines()]
    assert ("learning_rate" in header) == bool(settings)
    if settings:
        assert [float(row[header.index("learning_rate")]) for row in rows] == pytest.approx(rates)


@pytest.mark.parametrize(
    ("settings", "scheduler"),
    [
        (STEP, lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2, 4], gamma=0.5)),
        (COSINE, lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)),
    ],
    ids=["step", "cosine"],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_optimisers_and_schedules_are_torchs(tmp_path, settings, scheduler, optimizer):
    kinds = {
        "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=0.01),
        "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.02, weight_decay=0.01, amsgrad=True),
    }
    chosen = SGD if optimizer == "sgd" else {}
    assert_same(weights(tmp_path, config(**chosen, **settings)), by_torch(kinds[optimizer], scheduler))


def test_augmentation_changes_what_is_learnt_from(tmp_path):
    plain, changed = (weights(tmp_path / str(len(more)), config(**more)) for more in ({}, CROP_FLIP))
    assert any(not torch.equal(value, changed[name]) for name, value in plain.items())


@pytest.mark.parametrize("name", ["advreg", "dpsgd", "memguard"])
def test_defences_with_loops_of_their_own_take_none_of_it(name):
    with pytest.raises(ValueError, match=r"optimizer\n.*Extra inputs are not permitted"):
        DEFENSES[name].config(**TRAINING, optimizer="adam")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"optimizer": "sgd"}, "optimizer: sgd needs momentum"),
        ({"momentum": 0.9}, "momentum is for optimizer: sgd alone"),
        ({"optimizer": "sgd", "momentum": 1.0}, "momentum"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"schedule": "step", "factor": 0.1}, "schedule: step needs milestones"),
        ({"schedule": "step", "milestones": [2]}, "schedule: step needs factor"),
        ({"schedule": "cosine", "factor": 0.1}, "factor is for schedule: step alone"),
        ({"milestones": [2]}, "milestones is for schedule: step alone"),
        (STEP | {"milestones": []}, "milestones"),
        (STEP | {"milestones": [4, 2]}, r"milestones \[4, 2\] must rise, each below epochs \(6\)"),
        (STEP | {"milestones": [2, 2]}, "must rise"),
        (STEP | {"milestones": [2, 6]}, "each below epochs"),
        (STEP | {"milestones": [0, 2]}, "milestones"),
        (STEP | {"factor": 1.0}, "factor"),
        (STEP | {"factor": 0.0}, "factor"),
        ({"augmentation": "cutout"}, "augmentation"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        config(**settings)
