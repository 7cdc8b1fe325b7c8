"""Files that would run a command if they were read carelessly."""

import os
import pickle
from pathlib import Path

import torch


class RunsACommand:
    """Unpickling it creates a file: proof that something in a file was run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def assert_armed(path: Path, marker: Path) -> None:
    """The file has done nothing so far, and it was not harmless: pickle itself runs it."""
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists()


def assert_checkpoint_armed(path: Path, marker: Path) -> None:
    """The same of a file that torch wrote: read without its guard, on purpose and in this one place, it does run."""
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()
