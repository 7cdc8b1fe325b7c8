"""From keys to what a fence draws: a candidate's noise, and an image's rank.

Drawn for each image anew, both depend on its pixels alone, and a copy that differs by one grey level is another draw.
Shared, the noise is the same for all images and the rank changes slowly from image to image, so near-copies are
answered alike and there is nothing to average.
"""

from collections.abc import Sequence

import numpy as np
import torch

from common.runtime import rng
from common.runtime.modes import Noise

CYCLE = 0.35  # root mean square difference of two images in which a shared rank goes up once, or down


def candidate_noise(
    draws: Sequence[tuple[bytes, int]], shape: Sequence[int], *, seed: rng.Part, noise: Noise = "per_image"
) -> torch.Tensor:
    """Standard normal noise [B, *shape] for B pairs (sample key, j).

    It depends on (seed, key, j) alone, and where it is shared on (seed, j) alone.
    """
    values = np.empty((len(draws), *shape), dtype=np.float32)
    for row, (key, j) in zip(values, draws, strict=True):
        named = (key, j) if noise == "per_image" else (j,)
        # numpy, because torch's generator on the CPU keeps only 32 bits of a seed: some samples would share noise
        rng.numpy_generator(seed, "candidate noise", *named).standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(values)


def ranks(x: torch.Tensor, keys: Sequence[bytes], *, seed: rng.Part, noise: Noise = "per_image") -> torch.Tensor:
    """Ranks float64 [n] in [0, 1] of images [n, C, H, W] in [0, 1] with these keys.

    Drawn for each image they are even. Shared, they go up and down along one random direction, so they are nearly even
    over images that differ by much more than ``CYCLE``, and nearly the same for images that differ by much less.
    """
    if noise == "per_image":
        drawn = [rng.numpy_generator(seed, "rank", key).random() for key in keys]
        return torch.tensor(drawn, dtype=torch.float64)
    generator = rng.numpy_generator(seed, "rank")
    direction, start = torch.from_numpy(generator.standard_normal(x[0].numel())), 2 * generator.random()
    along = x.detach().cpu().double().flatten(1) @ direction / len(direction) ** 0.5
    return (((along / CYCLE + start) % 2) - 1).abs()
