"""Datasets of one's own: from a folder of pictures, or from arrays, to a report."""

import html
import json
from pathlib import Path

import numpy as np
import pytest

from tests import miniature, served
from tests.common.data.imitations import BIRDS, pictures
from tests.miniature import FEW, files_below


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.build(tmp_path_factory.mktemp("own") / "copy", archives=False)


def new(root: Path, *arguments: str) -> str:
    done = miniature.run(root, ".", "python", "-m", "common.new_dataset", *arguments)
    assert done.returncode == 0, done.stderr
    miniature.shrink_settings(root / arguments[0])
    return done.stdout


def run(root: Path, folder: str, script: str, *arguments: str) -> str:
    done = served.run(root, folder, script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def whole_path(root: Path, name: str, *settings: str, model: str = "resnet") -> dict:
    assert "The smallest role has" in run(root, name, "data_partition.py")
    run(root, name, "train_ddpm.py")
    chosen = ("--defense", "undefended", "--model", model)
    run(root, name, "train_defense.py", *chosen, *settings)
    run(root, f"{name}/evaluate_MIAs", "evaluate.py", *chosen, *FEW)
    (report,) = (root / name / "evaluate_MIAs" / "results").glob("**/undefended_w_diffence/report.json")
    found = json.loads(report.read_text())
    assert found["verdict"] in html.unescape(report.with_name("report.html").read_text())
    return found


FENCE = """
import torch
from birds.diff_defense import fence

classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 17 * 20, 3))
fenced, images = fence(classifier, device="cpu"), torch.rand(2, 3, 17, 20)
assert (fenced(images).argmax(dim=1) == classifier(images).argmax(dim=1)).all()
"""


def test_a_folder_of_pictures_goes_the_whole_path(root: Path) -> None:
    """Of another height than width, neither of which the diffusion model can halve; a classifier of torchvision."""
    before = files_below(root / "cifar10")
    images = pictures(root / "elsewhere" / "birds", BIRDS, each=16, size=(18, 22))
    said = new(root, "birds", "--images", str(images), "--size", "17x20")
    assert "birds/ is ready" in said and "size: [17, 20]" in said and "# auk, bee-eater, crane" in said
    report = whole_path(root, "birds", model="torchvision:resnet18")
    assert report["dataset"] == "birds" and report["label_agreement"] == 1.0
    assert miniature.run(root, ".", "python", "-c", FENCE).returncode == 0
    assert files_below(root / "cifar10") == before
    scripts = {name for name in before if name.endswith((".py", ".sh"))}
    made = files_below(root / "birds")
    assert scripts <= made.keys() and all(made[name] == before[name] for name in scripts)
    models = served.run(root, "birds", "train_defense.py", "--defense", "undefended", "--model", "vit")
    assert models.returncode == 1 and "vit takes square images only, and these are 17x20" in models.stderr
    changed = next(images.glob("auk/*"))
    changed.unlink()
    done = served.run(root, "birds", "data_partition.py")
    assert done.returncode == 1 and "data_partition.py --replace" in done.stderr


def test_arrays_with_known_members_go_the_whole_path(root: Path) -> None:
    """As of a model that was trained elsewhere: no reference samples, and who asks for them is told."""
    generator = np.random.default_rng(0)
    member = generator.permutation(70) < 30
    images, labels = generator.integers(0, 256, (70, 8, 8), dtype=np.uint8), generator.integers(0, 3, 70)
    np.savez(root / "elsewhere" / "some.npz", images=images, labels=labels, member=member)
    new(root, "rows", "--arrays", "elsewhere/some.npz")
    report = whole_path(root, "rows", "--set", "undefended.checkpoint_selection=last")
    partition = json.loads((root / "rows" / "data" / "partition.json").read_text())
    assert report["dataset"] == "rows" and partition["listed"] == partition["sizes"]["members"] == member.sum()
    done = served.run(root, "rows", "train_defense.py", "--defense", "advreg")
    assert done.returncode == 1 and "--defense advreg learns from a reference set" in done.stderr
    assert "raise reference there" in done.stderr
    text = (root / "rows" / "evaluate_MIAs" / "results" / "undefended" / "report.txt").read_text()
    assert "members: those of the list in configs/" in text and "WARNING" not in text
