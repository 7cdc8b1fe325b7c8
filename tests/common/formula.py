"""Weights from a formula, so that no expected value hangs on a random generator."""

import torch
from torch import nn


def fill(module: nn.Module) -> nn.Module:
    """Give every trained tensor and running statistic of a module a wave of its own: lively, bounded, no symmetry."""
    with torch.no_grad():
        for place, (name, tensor) in enumerate(module.state_dict().items()):
            if not tensor.is_floating_point() or name.endswith("timembedding.0.weight"):
                continue
            wave = torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) * (1 + 0.37 * place) + place)
            if tensor.ndim > 1:
                wave = wave * (2 / tensor[0].numel()) ** 0.5
            elif name.endswith(("weight", "running_var")):
                wave = 1 + 0.2 * wave
            else:
                wave = 0.1 * wave
            tensor.copy_(wave.reshape(tensor.shape))
    return module


def images(*shape: int) -> torch.Tensor:
    """Images in [0, 1], all different: float32 [B, C, H, W]."""
    count = torch.Size(shape).numel()
    return (0.5 + 0.5 * torch.sin(torch.arange(count, dtype=torch.float64) * 0.7 + 1)).float().reshape(shape)
