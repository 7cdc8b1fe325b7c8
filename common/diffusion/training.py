"""Train the diffusion model on the classifier's members (Ho et al., NeurIPS 2020, algorithm 1).

The checkpoint is in the published format, so the authors' files fit in the same place (formats/ddpm_checkpoint.py).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from common.diffusion.denoiser import Denoiser
from common.diffusion.fitting import fitted
from common.diffusion.schedule import ScheduleConfig, linear_alpha_bar, published_noise, q_sample
from common.models.unet import UNet, UNetConfig
from common.runtime import distributed, rng
from common.runtime.config import Batch, Fraction, NonNegative, Positive, PositiveFloat, Strict, later
from common.runtime.device import Compute, accelerate, autocast
from common.runtime.errors import UserError
from common.runtime.images import Size, sides, size_of, to_float
from common.runtime.modes import Noising, TrainedOn
from common.runtime.progress import Bar
from common.training.jobs import Job
from common.training.loop import run_rounds


class DDPMTraining(Strict):
    total_steps: Positive
    steps_per_round: Positive  # between two saved states
    batch_size: Batch
    learning_rate: PositiveFloat
    warmup_steps: NonNegative
    ema_decay: Fraction
    grad_clip: PositiveFloat
    horizontal_flip: bool
    sample_steps: Positive = later(50)  # DDIM steps of the picture of samples; weights do not depend on it
    only_steps: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = later(None)  # first, last; or all
    cooldown: Fraction = later(0.0)  # last share of the training, in which the learning rate falls to 0
    trained_on: TrainedOn = later("members")  # the classifier's, as in the paper; reference: others of the training set

    @model_validator(mode="after")
    def _whole_rounds(self) -> "DDPMTraining":
        if self.total_steps % self.steps_per_round:
            raise ValueError(f"total_steps ({self.total_steps}) must be a multiple of {self.steps_per_round}")
        return self

    @model_validator(mode="after")
    def _steps_rise(self) -> "DDPMTraining":
        if self.only_steps is not None and self.only_steps[0] > self.only_steps[1]:
            raise ValueError(f"only_steps are the first and the last, not {self.only_steps}")
        return self

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0: it rises in the warm-up and falls in the cool-down, linearly."""
        rising = (step + 1) / max(self.warmup_steps, 1)
        falling = (self.total_steps - step) / max(self.cooldown * self.total_steps, 1)
        return self.learning_rate * min(1.0, rising, falling)


class DDPMConfig(Strict):
    """configs/ddpm.yaml"""

    unet: UNetConfig
    schedule: ScheduleConfig
    training: DDPMTraining

    @model_validator(mode="after")
    def _schedule_has_the_steps(self) -> "DDPMConfig":
        steps = self.training.only_steps
        if steps is not None and steps[1] > self.schedule.T:
            raise ValueError(f"only_steps {steps}: the schedule has {self.schedule.T}")
        return self


def train(
    job: Job,
    images: torch.Tensor,
    config: DDPMConfig,
    *,
    seed: int,
    compute: Compute | None = None,
    show: Callable[[nn.Module], Sequence[Path]] | None = None,
) -> None:
    """Train on images uint8 [N, C, H, W], which are on the device that trains; several processes share each batch.

    show:  draws pictures of what the network, with averaged weights, can do so far; their paths
    """
    compute, recipe = compute or Compute(images.device), config.training
    unet = new_unet(config, channels=images.shape[1], image_size=size_of(*images.shape[2:]), seed=seed).to(
        images.device
    )
    parallel = distributed.data_parallel(accelerate(unet, compile=compute.compile))
    ema = AveragedModel(unet, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay))
    optimizer = torch.optim.Adam(unet.parameters(), lr=recipe.learning_rate)
    alpha_bar = alpha_bar_of(config)[1:].to(images.device, torch.float32)  # [T], by time index

    def train_round(index: int, bar: Bar) -> dict[str, float]:
        unet.train()
        total, first = 0.0, index * recipe.steps_per_round
        steps = range(first, first + recipe.steps_per_round)
        for step in steps:
            generator = rng.torch_generator(seed, "ddpm", step)
            with autocast(images.device, compute.precision):
                loss = denoising_loss(parallel, images, alpha_bar, recipe, generator=generator)
            _update(unet, optimizer, loss, recipe, step=step)
            ema.update_parameters(unet)
            total += loss.item()
            bar.update()
        return {"loss": distributed.mean(total / len(steps))}

    run_rounds(
        job,
        seed=seed,
        rounds=recipe.total_steps // recipe.steps_per_round,
        steps_per_round=recipe.steps_per_round,
        stateful={"unet": unet, "ema": ema, "optimizer": optimizer},
        train_round=train_round,
        kept=lambda: {"net_model": unet.state_dict(), "ema_model": ema.module.state_dict()},
        together=True,
        show=None if show is None else lambda: show(ema.module),
    )


def require_possible(config: DDPMConfig, *, image_size: Size) -> None:
    """Raise UserError where the images are too small for the network, or a batch cannot be shared by the processes."""
    require_halvings(config.unet, image_size=image_size, source="configs/ddpm.yaml")
    batch_size, processes = config.training.batch_size, distributed.world_size()
    if batch_size % processes:
        raise UserError(f"configs/ddpm.yaml: batch_size {batch_size} cannot be shared evenly by {processes} processes")


def new_unet(config: DDPMConfig, *, channels: int, image_size: Size, seed: int) -> UNet:
    require_possible(config, image_size=image_size)
    with rng.global_draws(seed, "unet"):
        return UNet(config.unet, channels=channels, num_steps=config.schedule.T)


def require_halvings(unet: UNetConfig, *, image_size: Size, source: str) -> None:
    halvings = len(unet.ch_mult) - 1
    for side in sides(image_size):
        if side >> halvings == 0:
            raise UserError(f"{source}: images of size {side} cannot be halved {halvings} times (ch_mult)")


def alpha_bar_of(config: DDPMConfig) -> torch.Tensor:
    return linear_alpha_bar(T=config.schedule.T, beta_1=config.schedule.beta_1, beta_T=config.schedule.beta_T)


def denoising_loss(
    unet: nn.Module, images: torch.Tensor, alpha_bar: torch.Tensor, recipe: DDPMTraining, *, generator: torch.Generator
) -> torch.Tensor:
    """Mean of |noise - eps(x_t, t)|^2 over this process's share of random images, steps and noises (DDPM eq. 14)."""
    batch, device = recipe.batch_size, images.device
    indices = torch.randint(len(images), (batch,), generator=generator)
    x_0 = 2 * to_float(images[indices.to(device)]) - 1
    if recipe.horizontal_flip:
        flip = torch.rand(batch, generator=generator) < 0.5
        x_0 = x_0.flip(3).where(flip.to(device)[:, None, None, None], x_0)
    first, last = recipe.only_steps or (1, len(alpha_bar))
    t = torch.randint(first - 1, last, (batch,), generator=generator).to(device)
    noise = torch.randn(x_0.shape, generator=generator).to(device)
    x_0, t, noise = (part[distributed.share()] for part in (x_0, t, noise))
    abar = alpha_bar[t][:, None, None, None]
    eps = unet(abar.sqrt() * x_0 + (1 - abar).sqrt() * noise, t)
    return F.mse_loss(eps.float(), noise)


def _update(
    unet: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor, recipe: DDPMTraining, *, step: int
) -> None:
    optimizer.param_groups[0]["lr"] = recipe.rate_at(step)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(unet.parameters(), recipe.grad_clip)
    optimizer.step()


def show_samples(
    denoiser: Denoiser, shape: torch.Size, *, num_jumps: int, seed: int, device: torch.device
) -> torch.Tensor:
    """24 images [24, *shape] in [0, 1] made from pure noise, for a picture."""
    noise = torch.randn((24, *shape), generator=rng.torch_generator(seed, "pictures"))
    return denoiser.sample(noise.to(device), num_jumps=num_jumps).cpu()


def show_purified(
    denoiser: Denoiser, x: torch.Tensor, *, step: int, seed: int, noising: Noising = "ddpm"
) -> dict[str, torch.Tensor]:
    """Images x [n, C, H, W] in [0, 1] as they are, noised (in the size of the diffusion model), denoised: a picture."""
    seen = fitted(x, denoiser.shape_of(x.shape[1:]))
    noise = torch.randn(seen.shape, generator=rng.torch_generator(seed, "picture of purified images")).to(x)
    noise_by = q_sample if noising == "ddpm" else published_noise
    noised = (noise_by(2 * seen - 1, noise, alpha_bar=denoiser.alpha_bar[step]) + 1) / 2
    denoised = denoiser.purify(x, noise, step=step, noising=noising)
    rows = {"x": x, "noised": noised.clamp(0, 1), "denoised": denoised}
    return {name: images.cpu() for name, images in rows.items()}
