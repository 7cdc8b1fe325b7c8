"""Changes of the training images, drawn anew in each epoch for each sample, whatever batch it is in."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch.nn import functional as F

from common.runtime import rng
from common.runtime.images import Labelled

Augmentation = Literal["none", "crop_flip"]
MARGINS = 8  # in an image's side: 4 pixels of 32, 1 of 8

Augment = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(images [B, C, H, W] in [0, 1], their indices into the training set [B]) -> the changed images, of the same kind"""


class CropFlip(NamedTuple):
    """Where the crops of n images begin in them with their margin, int64 [n], and which are mirrored, bool [n]."""

    top: torch.Tensor
    left: torch.Tensor
    flip: torch.Tensor

    def of(self, indices: torch.Tensor) -> "CropFlip":
        return CropFlip(*(part[indices] for part in self))


def changes_of_epoch(name: Augmentation, data: Labelled, *, seed: int, epoch: int) -> Augment:
    """How an epoch changes the training set ``data``; the draws are named by (seed, epoch)."""
    if name == "none":
        return lambda images, indices: images
    generator = rng.torch_generator(seed, "augmentation", epoch)
    drawn = draw(len(data), margin=data.images.shape[3] // MARGINS, generator=generator)
    there = CropFlip(*(part.to(data.images.device) for part in drawn))
    return lambda images, indices: crop_flip(images, there.of(indices))


def draw(count: int, *, margin: int, generator: torch.Generator) -> CropFlip:
    """Crops that begin anywhere in 0 … 2 margin, and a mirror image of every other one on average."""
    top, left = torch.randint(2 * margin + 1, (2, count), generator=generator)
    return CropFlip(top, left, torch.rand(count, generator=generator) < 0.5)


def crop_flip(x: torch.Tensor, drawn: CropFlip) -> torch.Tensor:
    """Crops, of the same size, of images [B, C, H, W] in a black margin, mirrored left to right where drawn so.

    The augmentation of He et al., CVPR 2016, section 4.2: 4 pixels on each side of 32x32.
    """
    _, channels, height, width = x.shape
    margin = width // MARGINS
    places = torch.arange(width, device=x.device)
    rows = drawn.top[:, None] + torch.arange(height, device=x.device)  # [B, H]
    columns = drawn.left[:, None] + torch.where(drawn.flip[:, None], places.flip(0), places)  # [B, W]
    samples = torch.arange(len(x), device=x.device)[:, None, None, None]
    of_channels = torch.arange(channels, device=x.device)[:, None, None]
    padded = F.pad(x, (margin, margin, margin, margin))
    return padded[samples, of_channels, rows[:, None, :, None], columns[:, None, None, :]]  # [B, C, H, W]
