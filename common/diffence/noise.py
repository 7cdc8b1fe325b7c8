"""From keys to noise: that of a candidate depends on (seed, sample, candidate) alone."""

from collections.abc import Sequence

import numpy as np
import torch

from common.runtime import rng


def candidate_noise(draws: Sequence[tuple[bytes, int]], shape: torch.Size, *, seed: int) -> torch.Tensor:
    """Standard normal noise [B, *shape] for B pairs (sample key, j), which depends on (seed, key, j) alone."""
    noise = np.empty((len(draws), *shape), dtype=np.float32)
    for row, (key, j) in zip(noise, draws, strict=True):
        # numpy, because torch's generator on the CPU keeps only 32 bits of a seed: some samples would share noise
        rng.numpy_generator(seed, "candidate noise", key, j).standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(noise)
