"""Images that are still elsewhere: their names and labels, and how one of them is read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.runtime.errors import UserError
from common.runtime.images import Size


@dataclass(frozen=True)
class Pool:
    """N images of a source.

    names:     of the images, each another one
    labels:    int64 [N], counted from 0
    classes:   their names
    training:  how many of the first ones are the source's own training set; None: it has none
    listing:   JSON-like, what names the source's state: another one is another pool
    look:      number of an image -> its channels, height and width
    read:      number of an image, channels and size -> uint8 [C, H, W]
    """

    names: Sequence[str]
    labels: np.ndarray
    classes: Sequence[str]
    training: int | None
    listing: Any
    look: Callable[[int], tuple[int, int, int]]
    read: Callable[[int, int, Size], np.ndarray]

    def __len__(self) -> int:
        return len(self.names)


def lines_of(path: Path) -> list[str]:
    """The lines of a text file in UTF-8. Raises UserError naming it."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a text file that can be read ({error})") from error


def listed(pool: Pool, lines: Sequence[str], *, source: str) -> np.ndarray:
    """The numbers int64 [n] of the images that a list names, one a line; empty lines are passed over.

    Raises UserError naming ``source`` where a name stands twice, or is no image's.
    """
    numbers = {name: number for number, name in enumerate(pool.names)}
    names = [name.strip().replace("\\", "/").removeprefix("./") for name in lines if name.strip()]
    unknown = [name for name in names if name not in numbers]
    if unknown:
        raise UserError(
            f"{source}: {unknown[0]} is none of the {len(pool)} images"
            + (f", nor are {len(unknown) - 1} more" if len(unknown) > 1 else "")
            + f": they are named like {pool.names[0]}"
        )
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise UserError(f"{source}: {twice} stands twice")
    return np.array([numbers[name] for name in names], dtype=np.int64)
