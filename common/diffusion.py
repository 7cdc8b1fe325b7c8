"""DDPM's forward process and DDIM's deterministic step, as pure functions of images in [-1, 1].

    here               paper (Ho et al. 2020, Song et al. 2021)
    alpha_bar[s]       product of 1 - beta_i for i = 1 … s; alpha_bar[0] = 1 is the clean image
    q_sample           q(x_s | x_0), DDPM eq. 4
    predict_x0         the "predicted x_0" of DDIM eq. 12, DDPM eq. 15
    ddim_step          DDIM eq. 12 with sigma = 0
    published_noise    what the published code of Diffence has in q_sample's place

Steps count from 1, as in the papers: noising to step T uses the first T betas. The network's time index is that of the
last beta used, step - 1.
"""

import itertools
from collections.abc import Callable
from typing import get_args

import torch
from torch import nn

from common.config import Noising

NoisePredictor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""eps(x_t [B, C, H, W] in the scale of [-1, 1], time indices [B] int64) -> predicted noise [B, C, H, W]"""


def linear_alpha_bar(*, T: int, beta_1: float, beta_T: float) -> torch.Tensor:
    """alpha_bar of the linear schedule, float64 [T + 1]."""
    betas = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
    return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, dim=0)])


def q_sample(x_0: torch.Tensor, noise: torch.Tensor, *, alpha_bar: float) -> torch.Tensor:
    """x_s = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise."""
    return alpha_bar**0.5 * x_0 + (1 - alpha_bar) ** 0.5 * noise


def published_noise(x_0: torch.Tensor, noise: torch.Tensor, *, alpha_bar: float) -> torch.Tensor:
    """sqrt(1 / alpha_bar) x_0 + sqrt(1 / alpha_bar - 1) noise, the published code's forward noising.

    Against q_sample's sqrt(alpha_bar) x_0 the signal is 1 / alpha_bar times too great (1.31 at step 160 of the usual
    schedule), the noise 1 / sqrt(alpha_bar) times.
    """
    return (1 / alpha_bar) ** 0.5 * x_0 + (1 / alpha_bar - 1) ** 0.5 * noise


def last_step(num_steps: int, noising: Noising) -> int:
    """The greatest step to which images can be noised: as published the network is told one step more."""
    return num_steps - (noising == "published")


def predict_x0(x_s: torch.Tensor, eps: torch.Tensor, *, alpha_bar: float) -> torch.Tensor:
    """The clean image that x_s was made from, if eps is its noise."""
    return (x_s - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5


def ddim_step(
    x_s: torch.Tensor, eps: torch.Tensor, *, alpha_bar_from: float, alpha_bar_to: float, clip: bool = False
) -> torch.Tensor:
    """One deterministic jump between two steps; ``clip`` keeps the predicted x_0 in [-1, 1]."""
    x_0 = predict_x0(x_s, eps, alpha_bar=alpha_bar_from)
    if clip:
        x_0 = x_0.clamp(-1, 1)
        eps = (x_s - alpha_bar_from**0.5 * x_0) / (1 - alpha_bar_from) ** 0.5
    return q_sample(x_0, eps, alpha_bar=alpha_bar_to)


class Denoiser(nn.Module):
    """A noise predictor with its schedule; anything callable as ``NoisePredictor`` will do:

    Denoiser(lambda x, index: my_unet(x, index), linear_alpha_bar(T=1000, beta_1=1e-4, beta_T=0.02))

    precision: fp32, or bf16 for the predictor (a module is cast) and what it gets; all else is computed as x is

    Raises ValueError where alpha_bar is not a schedule: [T + 1], from 1 down towards 0.
    """

    def __init__(self, predict_noise: NoisePredictor, alpha_bar: torch.Tensor, *, precision: str = "fp32") -> None:
        super().__init__()
        if alpha_bar.ndim != 1 or alpha_bar[0] != 1 or not (alpha_bar.diff() < 0).all() or alpha_bar[-1] <= 0:
            raise ValueError("alpha_bar must be [T + 1], start at 1 (the clean image) and fall towards 0")
        self.predict_noise = predict_noise
        self.precision = precision
        if precision == "bf16" and isinstance(predict_noise, nn.Module):
            predict_noise.to(torch.bfloat16)
        self.alpha_bar = [float(value) for value in alpha_bar]

    @property
    def num_steps(self) -> int:
        return len(self.alpha_bar) - 1

    def forward(self, x_s: torch.Tensor, *, step: int, to: int = 0, clip: bool = False) -> torch.Tensor:
        """One DDIM jump of x_s [B, C, H, W] from ``step`` to ``to``."""
        if not 0 <= to < step <= self.num_steps:
            raise ValueError(
                f"a jump from step {step} to {to}: steps fall, from at most {self.num_steps} to at least 0"
            )
        index = torch.full((len(x_s),), step - 1, dtype=torch.int64, device=x_s.device)
        given = x_s.bfloat16() if self.precision == "bf16" else x_s
        eps = self.predict_noise(given, index).to(x_s.dtype)
        return ddim_step(x_s, eps, alpha_bar_from=self.alpha_bar[step], alpha_bar_to=self.alpha_bar[to], clip=clip)

    def purify(self, x: torch.Tensor, noise: torch.Tensor, *, step: int, noising: Noising = "ddpm") -> torch.Tensor:
        """Noise images to ``step`` and jump back to the clean image: [B, C, H, W] in [0, 1] -> the same.

        With ``noising`` "published" as the published code does it for its step T. It numbers the entries of
        abar = cumprod(1 - beta) from 0, so abar[i] is alpha_bar[i + 1] here: it noises by ``published_noise`` with
        abar[T - 1], tells the network the time index T, where ddpm has T - 1, and jumps from abar[T] to abar[0], which
        is one step short of the clean image. In the steps of this module that is a jump from T + 1 to 1. (Its jump
        from T to T before that changes nothing and is left out. Its betas are rounded to float32, which changes
        abar[T - 1] by 4e-9 of its value for T = 160, less than float32 images can show: that is left out too.)
        """
        if noising == "published":
            x_0 = self(published_noise(2 * x - 1, noise, alpha_bar=self.alpha_bar[step]), step=step + 1, to=1)
        elif noising == "ddpm":
            x_0 = self(q_sample(2 * x - 1, noise, alpha_bar=self.alpha_bar[step]), step=step)
        else:
            raise ValueError(f"noising must be one of {get_args(Noising)}, not {noising!r}")
        return ((x_0 + 1) / 2).clamp(0, 1)

    @torch.no_grad()
    def sample(self, noise: torch.Tensor, *, num_jumps: int) -> torch.Tensor:
        """Images in [0, 1] from pure noise [B, C, H, W] by DDIM in ``num_jumps`` equal jumps."""
        steps = torch.linspace(self.num_steps, 0, num_jumps + 1, dtype=torch.float64).round().int().tolist()
        x = noise
        for step, to in itertools.pairwise(steps):
            if to < step:  # more jumps than steps leave some of length zero
                x = self(x, step=step, to=to, clip=True)
        return ((x + 1) / 2).clamp(0, 1)
