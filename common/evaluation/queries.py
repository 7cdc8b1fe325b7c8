"""The changed images that attackers ask about, each fixed by the seed, the kind, its number and the image alone."""

from collections.abc import Sequence
from typing import TypeVar, assert_never

import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import rotate

from common.attacks.observations import LabelKind, QueryKind
from common.runtime import rng
from common.runtime.images import to_float

Choice = TypeVar("Choice")

SHIFTS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # down and right by so many pixels
SHIFTS_2 = ((2, 0), (-2, 0), (0, 2), (0, -2), (1, 1), (1, -1), (-1, 1), (-1, -1))
ANGLES = (5, -5, 10, -10, 15, -15)  # degrees, against the clock


def changed(images: torch.Tensor, kind: QueryKind | LabelKind, number: int, *, seed: rng.Part) -> torch.Tensor:
    """One change of images uint8 [n, C, H, W]; the changes of a kind are numbered from 0, each another one.

    Raises ValueError where a kind has no such number.
    """
    match kind:
        case "image":
            return images
        case "near_copy":
            return _one_level(images, number)
        case "noise_5" | "noise_10" | "noise_15" | "noise_20" | "noise_40":
            return _noisy(images, int(kind.removeprefix("noise_")) / 100, number, seed=seed)
        case "shift":
            return _shifted(images, *_numbered(SHIFTS, kind, number))
        case "shift_2":
            return _shifted(images, *_numbered(SHIFTS_2, kind, number))
        case "rotation":
            return rotate(images, _numbered(ANGLES, kind, number), interpolation=InterpolationMode.BILINEAR)
        case "flip":
            return _numbered((images.flip(-1),), kind, number)
        case _:
            assert_never(kind)


def _numbered(choices: Sequence[Choice], kind: str, number: int) -> Choice:
    if not 0 <= number < len(choices):
        raise ValueError(f"there are {len(choices)} changes of the kind {kind!r}, and none numbered {number}")
    return choices[number]


def _one_level(images: torch.Tensor, number: int) -> torch.Tensor:
    """One grey level more at one pixel, or less where it is white."""
    pixels = images.flatten(1).clone()
    if not 0 <= number < pixels.shape[1]:
        raise ValueError(f"there are {pixels.shape[1]} near-copies of such an image, and none numbered {number}")
    pixel = pixels[:, number].int()
    pixels[:, number] = torch.where(pixel < 255, pixel + 1, pixel - 1).to(torch.uint8)
    return pixels.view_as(images)


def _noisy(images: torch.Tensor, deviation: float, number: int, *, seed: rng.Part) -> torch.Tensor:
    """Gaussian noise in [0, 1], cut off there and rounded to grey levels."""
    x = to_float(images)
    noise = torch.stack(
        [
            torch.randn(
                image.shape,
                generator=rng.torch_generator(
                    seed, "noisy copy", round(100 * deviation), number, rng.sample_key(image)
                ),
            )
            for image in x
        ]
    )
    return ((x + deviation * noise).clamp(0, 1) * 255).round().to(torch.uint8)


def _shifted(images: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """What comes in at the border repeats it."""
    height, width = images.shape[-2:]
    rows = (torch.arange(height) - down).clamp(0, height - 1)
    columns = (torch.arange(width) - right).clamp(0, width - 1)
    return images[..., rows[:, None], columns]
