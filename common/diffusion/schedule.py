"""DDPM's forward process, as pure functions of images in [-1, 1].

    here               paper (Ho et al. 2020)
    alpha_bar[s]       product of 1 - beta_i for i = 1 … s; alpha_bar[0] = 1 is the clean image
    q_sample           q(x_s | x_0), eq. 4
    published_noise    what the published code of Diffence has in q_sample's place

Steps count from 1, as in the papers: noising to step T uses the first T betas.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, model_validator

from common.runtime.config import Strict
from common.runtime.modes import Noising


class ScheduleConfig(Strict):
    T: Annotated[int, Field(gt=0, le=100_000)]
    beta_1: Annotated[float, Field(gt=0, lt=1)]
    beta_T: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _betas_rise(self) -> "ScheduleConfig":
        if self.beta_1 > self.beta_T:
            raise ValueError(f"beta_1 ({self.beta_1}) must not exceed beta_T ({self.beta_T})")
        alpha_bar = linear_alpha_bar(T=self.T, beta_1=self.beta_1, beta_T=self.beta_T)
        if alpha_bar[-1] <= 0 or not (alpha_bar.diff() < 0).all():
            raise ValueError("no schedule: with these T, beta_1 and beta_T alpha_bar reaches 0 before its end")
        return self


def linear_alpha_bar(*, T: int, beta_1: float, beta_T: float) -> torch.Tensor:
    """alpha_bar of the linear schedule, float64 [T + 1]."""
    return _alpha_bar(torch.linspace(beta_1, beta_T, T, dtype=torch.float64))


def cosine_alpha_bar(*, T: int) -> torch.Tensor:
    """alpha_bar of the cosine schedule (Nichol and Dhariwal 2021, eq. 17), float64 [T + 1].

    alpha_bar[s] = f(s) / f(0), where f(s) = cos((s / T + 0.008) / 1.008 * pi / 2)^2, but that no beta exceeds 0.999.
    """
    f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2) ** 2
    return _alpha_bar((1 - f[1:] / f[:-1]).clamp(max=0.999))


def _alpha_bar(betas: torch.Tensor) -> torch.Tensor:
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


def fence_steps(num_steps: int, noising: Noising, *, only: Sequence[int] | None = None) -> tuple[int, int]:
    """The first and the last step T to which a fence can noise; its network is asked for T, or for T + 1 as published.

    only:  the first and the last step that the network has learnt; None where it has learnt all
    """
    ahead = int(noising == "published")
    first, last = only or (1, num_steps)
    return max(1, first - ahead), last - ahead
