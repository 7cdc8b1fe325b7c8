"""What a diffusion model itself remembers of the images that it was trained on.

Its loss at an image tells membership of its training set (Matsumoto, Miura and Yanai 2023; Carlini et al. 2023). The
fence shows nobody that loss: it is for those who would give the model away.
"""

import torch

from common.diffusion.denoiser import Denoiser
from common.runtime import rng
from common.runtime.device import move, pass_size


@torch.no_grad()
def reconstruction_errors(denoiser: Denoiser, x: torch.Tensor, *, step: int, draws: int, seed: int) -> torch.Tensor:
    """Mean squared error of images x [n, C, H, W] in [0, 1] noised to ``step`` and denoised, over ``draws`` noises.

    At one step it is a multiple of the training loss there, but for the clamping. float64 [n], on the CPU.
    """
    size, errors = pass_size(x.device, pixels=x[0, 0].numel()).most, torch.zeros(len(x), dtype=torch.float64)
    for draw in range(draws):
        noise = torch.randn(x.shape, generator=rng.torch_generator(seed, "reconstruction errors", draw))
        parts = zip(x.split(size), move(noise, x.device).split(size), strict=True)
        off = [(denoiser.purify(part, drawn, step=step) - part).square().mean(dim=(1, 2, 3)) for part, drawn in parts]
        errors += torch.cat(off).cpu().double() / draws
    return errors
