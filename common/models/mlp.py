"""Pieces of the small fully connected networks that guess membership."""

import itertools

from torch import nn


def relu_stack(*sizes: int) -> nn.Sequential:
    """Linear layers between the sizes, a ReLU after each: [B, sizes[0]] -> [B, sizes[-1]]."""
    layers: list[nn.Module] = []
    for size_in, size_out in itertools.pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), nn.ReLU()]
    return nn.Sequential(*layers)


def initialise(module: nn.Module) -> None:
    """Weights N(0, 0.01^2), biases 0, as published."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0.0, 0.01)
            nn.init.zeros_(part.bias)
