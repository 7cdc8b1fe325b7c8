"""Images of a folder, of arrays or of CelebA, read once into a uint8 memory map beside the partition.

Their order is drawn once, whatever the seed of an experiment: the source's own training set comes first, or the members
that a list names; else all are one pool, whose first part is the training set. Seeds share out the training set.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from common.data import arrays, celeba, pictures
from common.data.config import DatasetConfig
from common.data.pool import Pool, lines_of, listed
from common.data.raw import RawData
from common.runtime import ownership, progress, storage
from common.runtime.config import Strict, parse
from common.runtime.errors import UserError
from common.runtime.images import sides
from common.runtime.paths import DatasetFolder

RECORD, IMAGES, LABELS, NAMES = "prepared.json", "images.npy", "labels.npy", "names.txt"
ORDER_SEED = 0
Count = Annotated[int, Field(ge=0)]


class Record(Strict):
    """prepared.json

    made_from:  what configs/ says of the images
    listing:    names the files, or the array, that they were read from
    training:   how many of the first ones are the source's own training set
    listed:     how many of the first ones a list names as members
    """

    made_from: dict[str, Any]
    listing: str
    training: Count | None
    listed: Count | None


def is_used(config: DatasetConfig) -> bool:
    """Whether such a source is read from a memory map."""
    return config.source.folder is not None or config.source.arrays is not None or config.source.torchvision == "CelebA"


def pool_of(config: DatasetConfig, folder: DatasetFolder) -> Pool:
    """Raises UserError where the source is not there, or not as it should be."""
    source = config.source
    if source.arrays is not None:
        return arrays.of_file(folder.root / source.arrays)[0]
    if source.folder is not None:
        root = folder.root / source.folder
        return pictures.of_utkface(root) if source.labels == "utkface" else pictures.of_folders(root)
    return celeba.pool(folder.raw_data)


def is_current(folder: DatasetFolder, config: DatasetConfig, pool: Pool) -> bool:
    """Whether the memory map is there, and of this source as it is now."""
    record = _record(folder)
    return record is not None and (record.made_from, record.listing) == (_made_from(folder, config), _listing(pool))


def write(folder: DatasetFolder, config: DatasetConfig, pool: Pool) -> None:
    """Read all images into the memory map. Raises UserError naming the first that cannot be read."""
    numbers, record = _ordered(folder, config, pool)
    with ownership.locked(folder.prepared), storage.staged_folders(folder.prepared, last=RECORD) as (stage,):
        with storage.naming(folder.prepared / IMAGES):
            _write_images(stage / IMAGES, config, pool, numbers)
        storage.write_with(stage / LABELS, lambda file: np.save(file, pool.labels[numbers], allow_pickle=False))
        storage.write_text(stage / NAMES, "".join(f"{pool.names[number]}\n" for number in numbers))
        storage.write_json(stage / RECORD, record.model_dump())
        (folder.prepared / RECORD).unlink(missing_ok=True)  # so that nobody reads old and new together


def _write_images(path: Path, config: DatasetConfig, pool: Pool, numbers: np.ndarray) -> None:
    """As an ordinary file: writing into a memory map of it kills the process where the disk is full."""
    header = {
        "descr": "|u1",
        "fortran_order": False,
        "shape": (len(numbers), config.channels, *sides(config.image_size)),
    }
    with path.open("wb") as file, progress.bar(total=len(numbers), unit="image", desc="read images") as bar:
        np.lib.format.write_array_header_1_0(file, header)
        for number in numbers:
            file.write(pool.read(int(number), config.channels, config.image_size).tobytes())
            bar.update()
        file.flush()
        os.fsync(file.fileno())


def _ordered(folder: DatasetFolder, config: DatasetConfig, pool: Pool) -> tuple[np.ndarray, Record]:
    """The numbers of the images in their order in the memory map, and what is written beside it."""
    everything, of_list, training = np.arange(len(pool)), None, pool.training
    parts = [everything] if training is None else np.split(everything, [training])
    if config.member_list is not None:
        path = folder.member_list(config.member_list)
        if not path.is_file():
            raise UserError(f"{folder.shown(path)} not found: it names the members (member_list in configs/data.yaml)")
        members = listed(pool, lines_of(path), source=folder.shown(path))
        parts, of_list, training = [members, np.setdiff1d(everything, members)], len(members), None
    generator = np.random.RandomState(ORDER_SEED)
    numbers = np.concatenate([generator.permutation(part) for part in parts])
    if config.limit is not None and len(parts) == 1:
        numbers = numbers[: config.limit]
    return numbers, Record(
        made_from=_made_from(folder, config), listing=_listing(pool), training=training, listed=of_list
    )


def read(folder: DatasetFolder, config: DatasetConfig) -> RawData:
    """The memory map, pages of which are read when they are used.

    Raises UserError where it is missing, damaged, or was made by other settings.
    """
    record, again = _record(folder), "make it again with `python data_partition.py`"
    if record is None:
        folder.require(folder.prepared / RECORD, "python data_partition.py")
        raise UserError(f"{folder.shown(folder.prepared / RECORD)} is damaged: {again}")
    if record.made_from != _made_from(folder, config):
        raise UserError(f"{folder.shown(folder.prepared)} is not of what configs/data.yaml says: {again}")
    try:
        images = np.load(folder.prepared / IMAGES, mmap_mode="c", allow_pickle=False)
        labels = np.load(folder.prepared / LABELS, allow_pickle=False)
        if images.dtype != np.uint8 or images.ndim != 4 or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise ValueError("not the arrays that were written")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{folder.shown(folder.prepared)} is damaged ({error}): {again}") from error
    training = record.training
    if training is None:
        training = min((config.members if record.listed is None else record.listed) + config.reference, len(labels))
    of_images, of_labels = torch.from_numpy(images), torch.from_numpy(labels)
    return RawData(
        of_images[:training], of_labels[:training], of_images[training:], of_labels[training:], record.listed
    )


def _record(folder: DatasetFolder) -> Record | None:
    """None where there is none, or a damaged one."""
    try:
        return parse(storage.read_json(folder.prepared / RECORD), Record, source=RECORD)
    except (OSError, ValueError):
        return None


def _made_from(folder: DatasetFolder, config: DatasetConfig) -> dict[str, Any]:
    path = config.member_list and folder.member_list(config.member_list)
    return {
        "source": config.source.model_dump(exclude_none=True),
        "shape": [config.channels, *sides(config.image_size)],
        "members": storage.file_sha256(path) if path and path.is_file() else config.member_list,
        "limit": config.limit,
    }


def _listing(pool: Pool) -> str:
    return storage.digest([pool.listing, pool.labels.tolist()])
