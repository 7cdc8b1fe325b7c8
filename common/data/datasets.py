"""The datasets: one table of facts, and loaders that end in raw uint8 images, through torchvision and scikit-learn."""

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from torchvision import datasets as tv
from torchvision.datasets.utils import check_integrity

from common.runtime import ownership, storage
from common.runtime.errors import UserError
from common.runtime.images import ImageSpec


@dataclass(frozen=True)
class RawData:
    """Images uint8 [N, C, H, W] and labels int64 [N], of the training and of the test set."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor

    def fingerprint(self) -> str:
        """A sha256 over every pixel and label, which ties a partition to the data it was made from."""
        digest = hashlib.sha256()
        for tensor in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
            digest.update(tensor.numpy().data)
        return digest.hexdigest()


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


def _load_digits(folder: Path) -> RawData:
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


@dataclass(frozen=True)
class Dataset:
    """``load`` reads it from a folder, fetching archives that are missing."""

    spec: ImageSpec
    load: Callable[[Path], RawData]


DATASETS: dict[str, Dataset] = {
    "cifar10": Dataset(
        ImageSpec(10, 3, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        lambda folder: _load_cifar(tv.CIFAR10, folder),
    ),
    "cifar100": Dataset(
        ImageSpec(100, 3, 32, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        lambda folder: _load_cifar(tv.CIFAR100, folder),
    ),
    "svhn": Dataset(ImageSpec(10, 3, 32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), _load_svhn),
    "digits": Dataset(ImageSpec(10, 1, 8, (0.3053,), (0.3760,)), _load_digits),
}
