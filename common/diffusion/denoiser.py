"""A noise predictor with its schedule, as the fence sees it: images in [0, 1] in and out.

The network's time index is that of the last beta used, step - 1.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import get_args

import torch
from torch import nn

from common.diffusion.ddim import ddim_step
from common.diffusion.fitting import Shape, fitted
from common.diffusion.schedule import published_noise, q_sample
from common.runtime.modes import Noising, Precision

NoisePredictor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""eps(x_t [B, C, H, W] in the scale of [-1, 1], time indices [B] int64) -> predicted noise [B, C, H, W].

Where there are more than C channels the first C are the noise: networks that also predict the variance (Nichol and
Dhariwal 2021) answer [B, 2C, H, W], and a deterministic jump has no use for it.
"""


class Denoiser(nn.Module):
    """A noise predictor with its schedule; anything callable as ``NoisePredictor`` will do:

    Denoiser(lambda x, index: my_unet(x, index), linear_alpha_bar(T=1000, beta_1=1e-4, beta_T=0.02))

    precision:    fp32, or bf16 for the predictor (a module is cast) and what it gets; all else is computed as x is
    image_shape:  [C, H, W] of the images to be purified, where that is known
    own_shape:    [C, H, W] that the predictor is for, where that is another: images are fitted to it (``fitted``),
                  purified there, and fitted back
    only_steps:   the first and the last step that it has learnt, where it has not learnt all

    Raises ValueError where alpha_bar is not a schedule, [T + 1], from 1 down towards 0, or there is no such precision.
    """

    def __init__(
        self,
        predict_noise: NoisePredictor,
        alpha_bar: torch.Tensor,
        *,
        precision: Precision = "fp32",
        image_shape: Shape | None = None,
        own_shape: Shape | None = None,
        only_steps: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if precision not in get_args(Precision):
            raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, not {precision!r}")
        if alpha_bar.ndim != 1 or alpha_bar[0] != 1 or not (alpha_bar.diff() < 0).all() or alpha_bar[-1] <= 0:
            raise ValueError("alpha_bar must be [T + 1], start at 1 (the clean image) and fall towards 0")
        self.predict_noise = predict_noise
        self.image_shape = image_shape
        self.own_shape = own_shape
        self.only_steps = only_steps
        self.precision = precision
        if precision == "bf16" and isinstance(predict_noise, nn.Module):
            predict_noise.to(torch.bfloat16)
        self.alpha_bar = [float(value) for value in alpha_bar]

    @property
    def num_steps(self) -> int:
        return len(self.alpha_bar) - 1

    def shape_of(self, image_shape: Shape) -> Shape:
        """[C, H, W] in which images [C, H, W] are purified, and so that of their noise."""
        return self.own_shape or image_shape

    def forward(self, x_s: torch.Tensor, *, step: int, to: int = 0, clip: bool = False) -> torch.Tensor:
        """One DDIM jump of x_s [B, C, H, W] from ``step`` to ``to``."""
        if not 0 <= to < step <= self.num_steps:
            raise ValueError(
                f"a jump from step {step} to {to}: steps fall, from at most {self.num_steps} to at least 0"
            )
        index = torch.full((len(x_s),), step - 1, dtype=torch.int64, device=x_s.device)
        given = x_s.bfloat16() if self.precision == "bf16" else x_s
        eps = self.predict_noise(given, index)[:, : x_s.shape[1]].to(x_s.dtype)
        return ddim_step(x_s, eps, alpha_bar_from=self.alpha_bar[step], alpha_bar_to=self.alpha_bar[to], clip=clip)

    def purify(self, x: torch.Tensor, noise: torch.Tensor, *, step: int, noising: Noising = "ddpm") -> torch.Tensor:
        """Noise images to ``step`` and jump back to the clean image: [B, C, H, W] in [0, 1] -> the same.

        noise:  [B, *shape_of(x.shape[1:])]

        With ``noising`` "published" as the published code does it for its step T. It numbers the entries of
        abar = cumprod(1 - beta) from 0, so abar[i] is alpha_bar[i + 1] here: it noises by ``published_noise`` with
        abar[T - 1], gives the network the time index T, where ddpm has T - 1, and jumps from abar[T] to abar[0], which
        is one step short of the clean image. In the steps of this module that is a jump from T + 1 to 1. (Its jump
        from T to T before that changes nothing and is left out. Its betas are rounded to float32, which changes
        abar[T - 1] by 4e-9 of its value for T = 160, less than float32 images can show: that is left out too.)
        """
        image_shape = x.shape[1:]
        x = fitted(x, self.shape_of(image_shape))
        if noise.shape != x.shape:
            raise ValueError(f"expected noise {list(x.shape)}, found {list(noise.shape)}")
        if noising == "published":
            x_0 = self(published_noise(2 * x - 1, noise, alpha_bar=self.alpha_bar[step]), step=step + 1, to=1)
        elif noising == "ddpm":
            x_0 = self(q_sample(2 * x - 1, noise, alpha_bar=self.alpha_bar[step]), step=step)
        else:
            raise ValueError(f"noising must be one of {get_args(Noising)}, not {noising!r}")
        return fitted(((x_0 + 1) / 2).clamp(0, 1), image_shape)

    @torch.no_grad()
    def sample(self, noise: torch.Tensor, *, num_jumps: int) -> torch.Tensor:
        """Images in [0, 1] from pure noise [B, C, H, W] by DDIM in ``num_jumps`` equal jumps."""
        steps = torch.linspace(self.num_steps, 0, num_jumps + 1, dtype=torch.float64).round().int().tolist()
        x = noise
        for step, to in itertools.pairwise(steps):
            if to < step:  # more jumps than steps leave some of length zero
                x = self(x, step=step, to=to, clip=True)
        return ((x + 1) / 2).clamp(0, 1)
