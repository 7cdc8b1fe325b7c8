"""Images that come as arrays in one .npz file."""

from pathlib import Path

import numpy as np

from common.data.config import MOST_CLASSES
from common.data.pool import Pool
from common.runtime import storage
from common.runtime.errors import UserError
from common.runtime.images import Size, sides


def of_file(path: Path) -> tuple[Pool, np.ndarray | None]:
    """``images`` uint8 [N, H, W] or [N, H, W, C], ``labels`` integers [N] from 0, and the numbers of the members where
    there is a ``member``, bool [N].

    Raises UserError naming the file and what of it is missing or of another kind.
    """
    arrays = _read(path)
    images, labels, member = (arrays.get(name) for name in ("images", "labels", "member"))
    if images is None or labels is None:
        raise UserError(f"{path}: needs arrays named images and labels, found {', '.join(arrays) or 'none'}")
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        said = f"found {images.dtype} {list(images.shape)}"
        raise UserError(f"{path}: images: expected uint8 [N, H, W] or [N, H, W, C] with C 1 or 3, {said}")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        said = f"found {labels.dtype} {list(labels.shape)}"
        raise UserError(f"{path}: labels: expected integers [{len(images)}], as many as images, {said}")
    if not len(labels) or labels.min() < 0:
        raise UserError(f"{path}: labels: expected classes counted from 0")
    if labels.max() >= MOST_CLASSES:
        raise UserError(f"{path}: labels: {labels.max()} is too large: there may be {MOST_CLASSES} classes, from 0")
    if member is not None and (member.shape != labels.shape or member.dtype != np.bool_):
        said = f"found {member.dtype} {list(member.shape)}"
        raise UserError(f"{path}: member: expected bool [{len(labels)}], {said}")
    coloured = images if images.ndim == 4 else images[..., None]
    _, height, width, channels = coloured.shape

    def read(number: int, wanted: int, size: Size) -> np.ndarray:
        if (wanted, *sides(size)) != (channels, height, width):
            raise UserError(f"{path}: images are {height}x{width} with {channels} channels: arrays are not resized")
        return np.ascontiguousarray(coloured[number].transpose(2, 0, 1))

    pool = Pool(
        names=[str(number) for number in range(len(images))],
        labels=labels.astype(np.int64),
        classes=[str(label) for label in range(int(labels.max()) + 1)],
        training=None,
        listing=storage.file_sha256(path),
        look=lambda number: (channels, height, width),
        read=read,
    )
    return pool, None if member is None else np.flatnonzero(member)


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"{path} not found")
    try:
        return storage.read_npz(path)
    except Exception as error:  # whatever a hostile file provokes, the answer is the same
        raise UserError(f"{path}: not a .npz file of plain arrays ({error})") from error
