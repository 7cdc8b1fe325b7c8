"""DDIM's deterministic step (Song et al. 2021), as pure functions of images in [-1, 1].

here               paper
predict_x0         the "predicted x_0" of eq. 12, DDPM eq. 15
ddim_step          eq. 12 with sigma = 0
"""

import torch

from common.diffusion.schedule import q_sample


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
