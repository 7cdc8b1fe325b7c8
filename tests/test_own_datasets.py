"""Datasets of one's own: from a folder of pictures, or from arrays, to a report."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import miniature, served
from tests.miniature import FEW, files_below

BIRDS = ("auk", "bee-eater", "crane", "dove", "eider", "finch", "grebe")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.build(tmp_path_factory.mktemp("own") / "copy", archives=False)


def pictures(folder: Path, *, each: int, size: tuple[int, int], classes=BIRDS, seed: int = 0) -> Path:
    """Colour pictures, height and width ``size``: a colour of its own for each class, and noise."""
    generator = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            colour = np.array([37 * label % 256, 255 - 30 * label, 128])
            pixels = np.clip(colour + generator.normal(0, 40, (*size, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")
    return folder


def new(root: Path, *arguments: str) -> None:
    done = miniature.run(root, ".", "python", "-m", "common.new_dataset", *arguments)
    assert done.returncode == 0, done.stderr
    miniature.shrink_settings(root / arguments[0])


def done(root: Path, folder: str, script: str, *arguments: str) -> str:
    ended = served.run(root, folder, script, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def whole_path(root: Path, name: str, *, defense: str = "undefended") -> dict:
    said = done(root, name, "data_partition.py")
    assert "members (training set)" in said
    done(root, name, "train_ddpm.py")
    done(root, name, "train_defense.py", "--defense", defense)
    done(root, f"{name}/evaluate_MIAs", "evaluate.py", "--defense", defense, *FEW)
    report = root / name / "evaluate_MIAs" / "results" / f"{defense}_w_diffence" / "report.json"
    return json.loads(report.read_text())


def test_a_folder_of_pictures_goes_the_whole_path(root: Path) -> None:
    before = files_below(root / "cifar10")
    images = pictures(root / "elsewhere" / "birds", each=16, size=(18, 22))
    new(root, "birds", "--images", str(images), "--size", "17x20")
    report = whole_path(root, "birds")
    assert report["dataset"] == "birds" and report["label_agreement"] == 1.0
    assert report["counts"]["partition"]["members"] == 112 // 3 if "partition" in report["counts"] else True
    assert files_below(root / "cifar10") == before
