"""A copy of the repository in which everything is tiny, archives in the official formats included."""

import hashlib
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
DATASETS = ("cifar10", "cifar100", "svhn", "digits")
SHARED = REPOSITORY / "common" / "configs"
SETTINGS = sorted(path.relative_to(SHARED) for path in SHARED.rglob("*.yaml"))
TRAIN, TEST = 60, 40
FEW = ("--attacks", "loss", "near_copies_4")  # for evaluations whose attacks are not what is looked at

TINY_DATA = {"members": 24, "reference": 24, "validation": 6}
# What differs from the real YAML files; keys that do not stand here keep their real values.
TINY: dict[str, dict[str, Any]] = {
    "classifier": {
        "resnet": {"width": 4, "blocks": [1, 1]},
        "resnet50": {"width": 4, "blocks": [1, 1]},
        "densenet121": {"growth_rate": 4, "init_features": 8, "blocks": [2, 2]},
        "vgg16_bn": {"stages": [[4], [8, 8]], "hidden": 16, "dropout": 0.5},
        "vit": {"patch_size": 4, "layers": 2, "heads": 2, "hidden": 16, "mlp": 16},
    },
    "ddpm": {
        "unet": {"ch": 32, "ch_mult": [1, 1], "attn": [1], "num_res_blocks": 1, "dropout": 0.1, "groups": 32},
        "training": {
            "total_steps": 6,
            "steps_per_round": 2,
            "batch_size": 4,
            "warmup_steps": 2,
            "sample_steps": 2,
            "only_steps": None,
            "cooldown": 0.0,
        },
    },
    "diffence": {"num_candidates": 3, "group_size": 5, "steady": {"num_candidates": 2}},
    "evaluation": {
        "num_sample": 12,
        "bootstrap": 100,
        "nn_attack": {"epochs": 2, "decay_epoch": 1},
        "near_copies": {"candidates": 6},
        "shadows": {"candidates": 4},
    },
}
TINY_DEFENSE: dict[str, Any] = {"epochs": 3, "batch_size": 8}
TINY_STEPS = {"milestones": [1, 2]}  # of the learning rate, which falls in each of configs/original/
TINY["selena"] = {**TINY_DEFENSE, "teachers": 3, "left_out": 1}
TINY["advreg"] = {**TINY_DEFENSE, "inference_batches": 2, "first_passes": 1}
TINY["memguard"] = {**TINY_DEFENSE, "max_steps": 5}

PATCH = '''
"""The official checksums and addresses, replaced by those of the tiny archives of this test."""
import torchvision.datasets as tv
md5 = {md5!r}
nowhere = "http://127.0.0.1:9/"
for dataset in (tv.CIFAR10, tv.CIFAR100):
    dataset.url, dataset.tgz_md5 = nowhere + dataset.filename, md5[dataset.filename]
    for files in (dataset.train_list, dataset.test_list):
        for entry in files:
            entry[1] = md5[dataset.base_folder + "/" + entry[0]]
    dataset.meta = dict(dataset.meta, md5=md5[dataset.base_folder + "/" + dataset.meta["filename"]])
for split in ("train", "test"):
    name = tv.SVHN.split_list[split][1]
    tv.SVHN.split_list[split] = [nowhere + name, name, md5[name]]
'''


def build(root: Path, *, archives: bool = True, cifar10: "Pictures | None" = None) -> Path:
    """Copy the code to ``root``, shrink every YAML file and put tiny archives in place, of noise or of given images."""
    shutil.copytree(REPOSITORY / "common", root / "common", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("all-train-all.sh", "reproduce.sh"):
        shutil.copy(REPOSITORY / name, root)
    for name in DATASETS:
        generated = shutil.ignore_patterns("__pycache__", "data", "final-all-models", "diff_models", "results", "banks")
        shutil.copytree(REPOSITORY / name, root / name, ignore=generated)
        shrink(root / name / "configs" / "data.yaml", TINY_DATA)
        shrink_settings(root / name)
    checksums: dict[str, str] = {}
    writers = {
        "cifar10": partial(_write_cifar10, pictures=cifar10 or _noise()),
        "cifar100": _write_cifar100,
        "svhn": _write_svhn,
    }
    for name, write in writers.items():
        folder = root / name / "data" / "raw" if archives else root / "elsewhere" / name
        folder.mkdir(parents=True)
        checksums |= write(folder)
    patch = root / "patch" / "sitecustomize.py"
    patch.parent.mkdir()
    patch.write_text(PATCH.format(md5=checksums))
    return root


def shrink_settings(folder: Path) -> None:
    """Of a dataset folder, but for data.yaml."""
    for settings in SETTINGS:
        original = TINY_STEPS if settings.parent.name == "original" else {}
        shrink(folder / "configs" / settings, TINY.get(settings.stem, TINY_DEFENSE) | original)


def shrink(path: Path, changes: dict[str, Any]) -> None:
    """Put values into a YAML file of a dataset folder, which may not be there or say nothing."""
    content = yaml.safe_load(path.read_text()) if path.is_file() else None
    content = content or {}
    _merge(content, changes)
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content))


def _merge(content: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            _merge(content[key], value)
        else:
            content[key] = value


def run(root: Path, folder: str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line as a user types it, in a folder of the miniature."""
    words = [sys.executable if word == "python" else word for word in command]
    return subprocess.run(
        words,
        cwd=root / folder,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(root / "patch"), **environment},
        capture_output=True,
        text=True,
    )


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def _labels(count: int, classes: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, classes, count).tolist()


class Pictures(NamedTuple):
    """Images uint8 [n, 3, 32, 32] and labels of a training set, a multiple of 5, and of a test set."""

    train_images: np.ndarray
    train_labels: list[int]
    test_images: np.ndarray
    test_labels: list[int]


def _noise() -> Pictures:
    return Pictures(_images(TRAIN, 0), _labels(TRAIN, 10, 0), _images(TEST, 9), _labels(TEST, 10, 9))


def _write_cifar10(folder: Path, pictures: Pictures) -> dict[str, str]:
    share = len(pictures.train_labels) // 5
    parts = [slice(i * share, (i + 1) * share) for i in range(5)]
    files: dict[str, Any] = {
        f"data_batch_{i + 1}": _batch(pictures.train_images[part], pictures.train_labels[part])
        for i, part in enumerate(parts)
    }
    files["test_batch"] = _batch(pictures.test_images, pictures.test_labels)
    files["batches.meta"] = {"label_names": [str(label) for label in range(10)]}
    return _write_archive(folder / "cifar-10-python.tar.gz", "cifar-10-batches-py", files)


def _batch(images: np.ndarray, labels: list[int]) -> dict[str, Any]:
    return {"data": images.reshape(len(images), -1), "labels": labels}


def _write_cifar100(folder: Path) -> dict[str, str]:
    files: dict[str, Any] = {
        "train": {"data": _images(TRAIN, 1).reshape(TRAIN, -1), "fine_labels": _labels(TRAIN, 100, 1)},
        "test": {"data": _images(TEST, 2).reshape(TEST, -1), "fine_labels": _labels(TEST, 100, 2)},
        "meta": {"fine_label_names": [str(label) for label in range(100)]},
    }
    return _write_archive(folder / "cifar-100-python.tar.gz", "cifar-100-python", files)


def _write_archive(path: Path, base: str, files: dict[str, Any]) -> dict[str, str]:
    checksums = {}
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            data = pickle.dumps(content)
            info = tarfile.TarInfo(f"{base}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
            checksums[f"{base}/{name}"] = hashlib.md5(data).hexdigest()
    return checksums | {path.name: hashlib.md5(path.read_bytes()).hexdigest()}


def _write_svhn(folder: Path) -> dict[str, str]:
    for split, count, seed in (("train", TRAIN, 3), ("test", TEST, 4)):
        labels = np.array(_labels(count, 10, seed), dtype=np.uint8)[:, None] + 1  # SVHN writes 10 for the digit 0
        content = {"X": _images(count, seed).transpose(2, 3, 1, 0), "y": labels}
        scipy.io.savemat(folder / f"{split}_32x32.mat", content)
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.glob("*.mat")}
