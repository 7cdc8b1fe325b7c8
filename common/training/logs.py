"""The log of a training read back."""

import csv
from pathlib import Path

import numpy as np

from common.runtime.errors import UserError
from common.training.jobs import log_path

MOST = 10_000_000  # bytes


def read(checkpoint: Path) -> dict[str, np.ndarray]:
    """Each measurement of a checkpoint's training, float64 [rounds]; none where it left no log.

    Raises UserError where that is no log of a training.
    """
    path = log_path(checkpoint)
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > MOST:
            raise ValueError("it is too long")
        header, *rows = csv.reader(path.read_text().splitlines(), strict=True)
        values = np.array(rows, dtype=np.float64)
        if not rows or values.shape[1] != len(header) or len(set(header)) != len(header) or header[:1] != ["round"]:
            raise ValueError("it is no table of rounds")
    except (ValueError, OSError, csv.Error) as error:
        raise UserError(f"{path}: not the log of a training ({error}): move it away") from error
    return {name: values[:, place] for place, name in enumerate(header) if name != "round"}
