"""Images of members and of non-members that a user has, brought to one shape: raw uint8 from here on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from common.data import arrays, pictures
from common.data.pool import Pool
from common.runtime import progress
from common.runtime.errors import UserError
from common.runtime.images import Labelled, Size, size_of


def read(
    members: Path, non_members: Path, *, classes: Sequence[str] | None = None, size: Size | None = None
) -> tuple[Labelled, Labelled]:
    """Images uint8 [n, C, H, W] of two trees of class folders, or of two .npz files, with labels.

    classes:  names of the class folders in the order of the labels; None: those of both trees, sorted. A file beside a
              tree needs them, since only the file has numbers
    size:     that pictures are brought to, see ``pictures.read``; None takes that which all have

    Grey images stay grey where all are. Raises UserError naming what does not fit.
    """
    paths = members, non_members
    pools = [arrays.of_file(path)[0] if path.is_file() else pictures.of_folders(path) for path in paths]
    _require_told_apart(paths, pools, classes)
    names = sorted({name for pool in pools for name in pool.classes}) if classes is None else list(classes)
    labels = [
        pool.labels if path.is_file() else _relabelled(pool, names, source=path)
        for path, pool in zip(paths, pools, strict=True)
    ]
    looks = [[pool.look(number) for number in range(len(pool))] for pool in pools]
    channels = max(look[0] for of_pool in looks for look in of_pool)
    shapes = {size_of(*look[1:]): path for path, of_pool in zip(paths, looks, strict=True) for look in of_pool}
    if size is None and len(shapes) > 1:
        (one, path), (other, where), *_ = shapes.items()
        sizes = f"{path} has images of {_said(one)} and {where} of {_said(other)}"
        if any(path.is_file() for path in paths):
            raise UserError(f"{sizes}: arrays are not resized, so both must have the size that the classifier takes")
        raise UserError(f"{sizes}: give the size that the classifier takes (--size 64, --size 218x178)")
    shape = next(iter(shapes)) if size is None else size
    found = []
    with progress.bar(total=sum(map(len, pools)), unit="image", desc="read images") as bar:
        for pool, of_pool in zip(pools, labels, strict=True):
            images = []
            for number in range(len(pool)):
                images.append(torch.tensor(pool.read(number, channels, shape)))
                bar.update()
            found.append(Labelled(torch.stack(images), torch.from_numpy(of_pool)))
    return found[0], found[1]


def _require_told_apart(paths: Sequence[Path], pools: Sequence[Pool], classes: Sequence[str] | None) -> None:
    """Raise UserError where nothing says which class folder has which number, or which images are meant."""
    for path, pool in zip(paths, pools, strict=True):
        if pool.training is not None:
            raise UserError(f"{path} holds train/ and test/: say which of them these images are, such as {path}/train")
    if classes is None and len({path.is_file() for path in paths}) > 1:
        file, folder = sorted(paths, key=lambda path: not path.is_file())
        raise UserError(
            f"{file} has numbers for its classes and {folder} has names: "
            "give a file with the names in the order of the numbers (--classes)"
        )


def _relabelled(pool: Pool, names: Sequence[str], *, source: Path) -> np.ndarray:
    """Labels int64 [n] as places in ``names``. Raises UserError where a class is none of them."""
    unknown = [name for name in pool.classes if name not in names]
    if unknown:
        raise UserError(f"{source}: class {unknown[0]} is none of {', '.join(names[:20])}")
    return np.array([names.index(name) for name in pool.classes], dtype=np.int64)[pool.labels]


def _said(size: Size) -> str:
    return f"{size}x{size}" if isinstance(size, int) else f"{size[0]}x{size[1]}"
