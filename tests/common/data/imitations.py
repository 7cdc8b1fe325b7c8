"""Tiny pictures in the forms that datasets come in."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

BIRDS = ("auk", "bee-eater", "crane", "dove", "eider", "finch", "grebe")


def picture(number: int, size: tuple[int, int]) -> Image.Image:
    """Colour, height and width ``size``: a colour of its own for each number, and noise."""
    generator = np.random.default_rng(number)
    colour = np.array([37 * number % 256, (255 - 30 * number) % 256, 128])
    pixels = colour + generator.normal(0, 40, (*size, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def pictures(folder: Path, classes: Sequence[str], *, each: int, size: tuple[int, int]) -> Path:
    """``folder``/CLASS/000.png and so on."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            picture(label + 10 * number, size).save(folder / name / f"{number:03}.png")
    return folder
