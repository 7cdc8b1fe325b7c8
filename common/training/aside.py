"""Checkpoints make room for others, as those of another seed, and come back when they are asked for again.

So does the progress of a training that is not done.
"""

import os
from collections.abc import Iterable
from pathlib import Path


def place(checkpoint: Path, key: str) -> Path:
    """Where the checkpoint of a key is when another one has taken its place: in a folder of its own beside it."""
    return checkpoint.with_name(f"{checkpoint.name}.before") / key / checkpoint.name


def found(checkpoint: Path, keys: Iterable[str]) -> str | None:
    """The first of the keys whose checkpoint is aside."""
    return next((key for key in keys if place(checkpoint, key).is_file()), None)


def put(files: list[Path], *, key: str) -> None:
    """Move a checkpoint, the last of the files, and what belongs to it aside: at every instant it is at one of both."""
    home = place(files[-1], key).parent
    home.mkdir(parents=True, exist_ok=True)
    _move(files, home)


def take_back(files: list[Path], *, key: str) -> None:
    """Undo ``put``."""
    home = place(files[-1], key).parent
    _move([home / path.name for path in files], files[-1].parent)
    for folder in (home, home.parent):
        if not any(folder.iterdir()):
            folder.rmdir()


def _move(files: list[Path], into: Path) -> None:
    for path in files:
        if path.is_file():
            os.replace(path, into / path.name)
