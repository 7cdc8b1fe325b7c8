"""Fitting torchvision's networks, made for 224x224 images of three channels, to small images and to Opacus."""

from torch import nn

from common.runtime.errors import UserError
from common.runtime.images import Size, sides


def without_in_place(network: nn.Module) -> None:
    """Let no layer overwrite its input: per-sample gradients (Opacus) do not allow it. Answers stay the same."""
    for module in network.modules():
        if getattr(module, "inplace", False):
            setattr(module, "inplace", False)  # noqa: B010


def require_halvings(image_size: Size, count: int, *, setting: str) -> None:
    """Raise UserError naming the setting of configs/classifier.yaml that wants the image halved too often."""
    smaller = min(sides(image_size))
    if smaller >> count == 0:
        raise UserError(f"configs/classifier.yaml: {setting}: images of size {smaller} cannot be halved {count} times")
