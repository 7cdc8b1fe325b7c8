"""Weights from a formula, so that no expected value hangs on a random generator."""

import torch
from torch import nn


def fill(module: nn.Module) -> nn.Module:
    """Give every trained tensor and running statistic of a module a wave of its own."""
    with torch.no_grad():
        for place, (name, tensor) in enumerate(module.state_dict().items()):
            if not tensor.is_floating_point() or name.endswith("timembedding.0.weight"):
                continue
            tensor.copy_(wave(name, tensor.shape, place))
    return module


def wave(name: str, shape: torch.Size | tuple[int, ...], place: int) -> torch.Tensor:
    """Values for the tensor at a place of a state dict, float64: lively, bounded, no symmetry."""
    shape = torch.Size(shape)
    values = torch.sin(torch.arange(shape.numel(), dtype=torch.float64) * (1 + 0.37 * place) + place)
    if len(shape) > 1:
        values = values * (2 / shape[1:].numel()) ** 0.5
    elif name.endswith(("weight", "running_var")):
        values = 1 + 0.2 * values
    else:
        values = 0.1 * values
    return values.reshape(shape)


def images(*shape: int) -> torch.Tensor:
    """Images in [0, 1], all different: float32 [B, C, H, W]."""
    count = torch.Size(shape).numel()
    return (0.5 + 0.5 * torch.sin(torch.arange(count, dtype=torch.float64) * 0.7 + 1)).float().reshape(shape)
