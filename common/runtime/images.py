"""Images as data and as what networks take: uint8 in memory, floats in [0, 1] from here on."""

from dataclasses import dataclass

import torch

Size = int | tuple[int, int]
"""The side of square images, or height and width"""


def sides(size: Size) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


def size_of(height: int, width: int) -> Size:
    return height if height == width else (height, width)


@dataclass(frozen=True)
class ImageSpec:
    """Shape, classes and normalisation (mean and standard deviation by channel, of values in [0, 1]) of a dataset."""

    num_classes: int
    channels: int
    image_size: Size
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Labelled:
    """Images uint8 [N, C, H, W] and labels int64 [N], on one device."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: torch.Tensor) -> "Labelled":
        """The samples of some indices, or where a bool mask is true."""
        return Labelled(self.images[chosen], self.labels[chosen])

    def to(self, device: torch.device) -> "Labelled":
        return Labelled(self.images.to(device), self.labels.to(device))


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 images to floats in [0, 1], the range that everything outside the diffusion package works in."""
    return images.float() / 255


def on_grid(x: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] at the nearest of 256 grey levels, as they are named by."""
    return (x * 255).round() / 255
