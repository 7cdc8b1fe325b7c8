import math

import pytest
import torch
from torch import nn

from common.diffusion import training
from common.diffusion.denoiser import Denoiser
from common.diffusion.training import DDPMConfig
from common.runtime import config
from common.runtime.errors import UserError
from common.runtime.paths import REPOSITORY
from tests.common.formula import images
from tests.common.no_float64 import NoFloat64

PUBLISHED = REPOSITORY / "cifar10" / "configs" / "ddpm.yaml"


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("unet.attn", [4], "unet: attn names level 4, but ch_mult has levels 0 to 3"),
        ("training.steps_per_round", 999, "training: total_steps (800000) must be a multiple of 999"),
        ("unet.dropout", math.nan, "unet.dropout: "),
        ("schedule.beta_1", math.nan, "schedule.beta_1: "),
        ("training.ema_decay", 1.0, "training.ema_decay: "),
    ],
)
def test_impossible_diffusion_models_are_refused(key, value, where):
    with pytest.raises(UserError) as caught:
        config.load(PUBLISHED, DDPMConfig, {key: value})
    assert f"\n  {where}" in str(caught.value)


def test_images_that_cannot_be_halved_so_often_are_refused():
    published = config.load(PUBLISHED, DDPMConfig)  # four levels
    for size in (8, 28, (218, 178)):
        training.require_possible(published, image_size=size)
    with pytest.raises(UserError, match=r"configs/ddpm\.yaml: images of size 7 cannot be halved 3 times \(ch_mult\)"):
        training.require_possible(published, image_size=7)


@pytest.mark.parametrize(("processes", "shared"), [(1, True), (4, True), (3, False)])
def test_a_batch_is_shared_evenly_by_the_processes_or_refused(monkeypatch, processes, shared):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    published = config.load(PUBLISHED, DDPMConfig)  # batches of 128
    if shared:
        training.require_possible(published, image_size=32)
    else:
        with pytest.raises(UserError, match="batch_size 128 cannot be shared evenly by 3 processes"):
            training.require_possible(published, image_size=32)


ALPHA_BAR = torch.linspace(0.95, 0.1, 12)
IMAGE = (255 * images(1, 1, 4, 4)).to(torch.uint8)


class Knowing(nn.Module):
    """Knows the one image there is, and so how much of what it is shown is noise; its answers are ``off`` by that."""

    def __init__(self, off):
        super().__init__()
        self.off, self.shown, self.told, self.noise = off, [], [], []

    def forward(self, x_t, t):
        abar = ALPHA_BAR[t].view(-1, 1, 1, 1)
        noise = (x_t - abar.sqrt() * (2 * (IMAGE / 255) - 1)) / (1 - abar).sqrt()
        self.shown.append(x_t)
        self.told += t.tolist()
        self.noise += noise
        return noise + self.off


def loss_of(net, *, image=IMAGE, flip=False, alpha_bar=ALPHA_BAR):
    draws, published = torch.Generator().manual_seed(3), config.load(PUBLISHED, DDPMConfig).training
    recipe = published.model_copy(update={"batch_size": 120, "horizontal_flip": flip})
    return training.denoising_loss(net, image, alpha_bar, recipe, generator=draws).item()


@pytest.mark.parametrize("off", [0.0, 0.5])
def test_the_loss_is_the_mean_squared_distance_from_the_noise(off):
    net = Knowing(off)
    assert loss_of(net) == pytest.approx(off**2, abs=1e-6)
    assert set(net.told) == set(range(12)) and len(net.told) == 120
    noise = torch.stack(net.noise)
    assert noise.mean().item() == pytest.approx(0, abs=0.1) and noise.std().item() == pytest.approx(1, abs=0.1)


def test_half_of_the_images_are_mirrored_where_that_is_asked_for():
    image = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    image[..., :2] = 255  # the left half
    shares = []
    for flip in (False, True):
        net = Knowing(0.0)
        loss_of(net, image=image, flip=flip, alpha_bar=torch.full((12,), 0.999))  # hardly noised
        shares.append((torch.cat(net.shown)[:, 0, :, 0].mean(dim=1) > 0).double().mean().item())
    assert shares == [1, pytest.approx(0.5, abs=0.15)]


def test_the_processes_share_a_batch(monkeypatch):
    """A sample of the batch is in the share of one process, and its draws are those that one process makes alone."""
    whole = Knowing(0.0)
    loss = loss_of(whole, flip=True)
    parts = [Knowing(0.0) for _ in range(3)]
    monkeypatch.setenv("WORLD_SIZE", "3")
    losses = []
    for rank, part in enumerate(parts):
        monkeypatch.setenv("RANK", str(rank))
        losses.append(loss_of(part, flip=True))
    assert sum(losses) / 3 == pytest.approx(loss, rel=1e-5)
    assert sorted(told for part in parts for told in part.told) == sorted(whole.told)


def test_a_device_without_float64_will_do():
    given = config.load(PUBLISHED, DDPMConfig).model_dump()
    given["unet"] |= {"ch": 32, "ch_mult": [1], "attn": [0], "num_res_blocks": 1}
    given["training"] |= {"total_steps": 2, "steps_per_round": 1, "batch_size": 4}
    settings, pixels = DDPMConfig.model_validate(given), (255 * images(5, 3, 8, 8)).to(torch.uint8)
    unet = training.new_unet(settings, channels=3, image_size=8, seed=0).eval()
    denoiser = Denoiser(unet, training.alpha_bar_of(settings))
    alpha_bar = training.alpha_bar_of(settings)[1:].float()
    x, noise = pixels / 255, torch.randn(5, 3, 8, 8)
    with NoFloat64():
        draws = torch.Generator().manual_seed(0)
        training.denoising_loss(unet, pixels, alpha_bar, settings.training, generator=draws).backward()
        assert denoiser.purify(x, noise, step=160).dtype == torch.float32


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("training.only_steps", [7, 3], "training: only_steps are the first and the last"),
        ("training.only_steps", [999, 1001], "only_steps [999, 1001]: the schedule has 1000"),
        ("training.only_steps", [5], "training.only_steps"),
        ("training.cooldown", 1.0, "training.cooldown"),
        ("training.trained_on", "test", "training.trained_on"),
    ],
)
def test_impossible_trainings_for_some_steps_are_refused(key, value, where):
    with pytest.raises(UserError) as caught:
        config.load(PUBLISHED, DDPMConfig, {key: value})
    assert where in str(caught.value)


def test_only_the_steps_that_are_asked_for_are_learnt():
    net = Knowing(0.0)
    recipe = config.load(PUBLISHED, DDPMConfig, {"training.only_steps": [4, 5]}).training
    training.denoising_loss(net, IMAGE, ALPHA_BAR, recipe, generator=torch.Generator().manual_seed(0))
    assert set(net.told) == {3, 4}


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    changes = {"total_steps": 100, "steps_per_round": 10, "warmup_steps": 10, "cooldown": 0.2, "learning_rate": 1.0}
    recipe = config.load(PUBLISHED, DDPMConfig, {f"training.{key}": value for key, value in changes.items()}).training
    rates = [recipe.rate_at(step) for step in range(100)]
    assert rates[:11] == pytest.approx([*(n / 10 for n in range(1, 11)), 1.0])
    assert rates[10:80] == [1.0] * 70
    assert rates[80:] == pytest.approx([(100 - step) / 20 for step in range(80, 100)])
    steady = recipe.model_copy(update={"cooldown": 0.0})
    assert [steady.rate_at(step) for step in (10, 99)] == [1.0, 1.0]


def test_settings_that_came_later_are_not_written_down_where_they_are_as_before():
    plain = config.load(PUBLISHED, DDPMConfig)
    assert {"only_steps", "cooldown", "trained_on"}.isdisjoint(plain.model_dump()["training"])
    changed = config.load(PUBLISHED, DDPMConfig, {"training.trained_on": "both", "training.only_steps": [1, 2]})
    assert changed.model_dump()["training"].keys() - plain.model_dump()["training"].keys() == {
        "only_steps",
        "trained_on",
    }
    assert DDPMConfig.model_validate(changed.model_dump()) == changed
