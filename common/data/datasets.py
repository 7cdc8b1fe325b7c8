"""Loaders that end in raw uint8 images: archives and scikit-learn's digits in memory, all else as memory maps."""

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from torchvision import datasets as tv
from torchvision.datasets.utils import check_integrity

from common.data import prepared
from common.data.config import DatasetConfig
from common.data.raw import RawData
from common.runtime import ownership, storage
from common.runtime.errors import UserError
from common.runtime.images import sides
from common.runtime.paths import DatasetFolder


def _load_cifar(dataset: type[tv.CIFAR10], folder: Path) -> RawData:
    _fetch(folder, [(dataset.url, dataset.filename, dataset.tgz_md5)], lambda root: dataset(str(root), download=True))
    parts = [dataset(str(folder), train=train) for train in (True, False)]
    images = [torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in parts]
    labels = [torch.tensor(part.targets, dtype=torch.int64) for part in parts]
    return RawData(images[0], labels[0], images[1], labels[1])


def _load_svhn(folder: Path) -> RawData:
    files = [tuple(tv.SVHN.split_list[split]) for split in ("train", "test")]
    _fetch(folder, files, lambda root: [tv.SVHN(str(root), split=split, download=True) for split in ("train", "test")])
    parts = [tv.SVHN(str(folder), split=split) for split in ("train", "test")]
    images = [torch.from_numpy(np.ascontiguousarray(part.data)) for part in parts]
    labels = [torch.from_numpy(part.labels.astype(np.int64)) for part in parts]
    return RawData(images[0], labels[0], images[1], labels[1])


_DIGITS_TRAIN = 800


def _load_digits() -> RawData:
    """The 1,797 digits of scikit-learn, shuffled once (they come writer by writer), 800 as the training set."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.images))
    images = torch.from_numpy(np.rint(digits.images[order] * (255 / 16)).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target[order].astype(np.int64))
    split = _DIGITS_TRAIN
    return RawData(images[:split].clone(), labels[:split].clone(), images[split:].clone(), labels[split:].clone())


def _fetch(folder: Path, archives: list[tuple[str, str, str]], download: Callable[[Path], Any]) -> None:
    """Leave complete archives (url, file name, md5) and what torchvision extracts from them in ``folder``.

    A file that is there but is not the official one is refused, not overwritten; a missing one is downloaded beside
    and moved in whole. Of several processes one fetches and extracts. Raises UserError naming the archive, where to get
    it and where to put it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ownership.locked(folder) if os.access(folder.parent, os.W_OK) else nullcontext():
        _fetch_alone(folder, archives, download)


def _fetch_alone(folder: Path, archives: list[tuple[str, str, str]], download: Callable[[Path], Any]) -> None:
    for url, name, md5 in archives:
        if (folder / name).is_file() and not check_integrity(str(folder / name), md5):
            raise UserError(
                f"{folder / name} is damaged or not the official archive (its md5 is not {md5}): "
                f"delete it and get it again from {url}"
            )
    missing = [archive for archive in archives if not (folder / archive[1]).is_file()]
    try:
        if missing:
            with storage.staged_folders(folder) as (stage,):
                download(stage)
                for path in stage.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)  # what was extracted: that is done again in its own place
        download(folder)  # nothing is missing now: this extracts, or finds that it was done before
    except (URLError, OSError, RuntimeError) as error:
        url, name, md5 = (missing or archives)[0]
        raise UserError(
            f"{name} could not be downloaded ({error}): get it from {url} (md5 {md5}) "
            f"and put it into {folder}, then run the same command again"
        ) from error


_ARCHIVES: dict[str, Callable[[Path], RawData]] = {
    "CIFAR10": partial(_load_cifar, tv.CIFAR10),
    "CIFAR100": partial(_load_cifar, tv.CIFAR100),
    "SVHN": _load_svhn,
}


def load(config: DatasetConfig, folder: DatasetFolder) -> RawData:
    """The images that configs/data.yaml says, those of archives that are missing being fetched.

    Raises UserError naming what cannot be had, or is not as configs/data.yaml says.
    """
    source = config.source
    if source.sklearn is not None:
        data = _load_digits()
    elif source.torchvision in _ARCHIVES:
        data = _ARCHIVES[source.torchvision](folder.raw_data)
    else:
        data = prepared.read(folder, config)
    _require_as_said(data, config, source=folder.shown(folder.config("data")))
    return data


def _require_as_said(data: RawData, config: DatasetConfig, *, source: str) -> None:
    said = (config.channels, *sides(config.image_size))
    found = tuple(data.train_images.shape[1:])
    if found != said:
        raise UserError(f"{source}: images are {list(found)} (channels, height, width), but it says {list(said)}")
    most = max(int(labels.max()) for labels in (data.train_labels, data.test_labels) if len(labels)) + 1
    if most > config.classes:
        raise UserError(f"{source}: classes: there are at least {most}, but it says {config.classes}")
