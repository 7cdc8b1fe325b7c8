"""A classifier of the user's own, by real commands: every defence trains it, evaluations know it again."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from common.defenses import DEFENSES
from tests import served
from tests.miniature import FEW

MODULE = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))

    def forward(self, x):
        h = self.conv1(x)
        h += x
        return torch.relu(h)

def build(num_classes, image_shape):
    channels, height, width = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, stride=2, padding=1), nn.ReLU(inplace=True), Block(4), nn.Flatten(),
        nn.Linear(4 * (height // 2) * (width // 2), 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, num_classes),
    )
"""
MODEL = ("--model", "my_models:build")


@pytest.fixture(scope="module")
def root(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beside the dataset folders lies the user's file, from which the undefended classifier is trained."""
    copy = Path(shutil.copytree(trained, tmp_path_factory.mktemp("own") / "copy"))
    (copy / "my_models.py").write_text(MODULE)
    done = served.run(copy, "digits", "train_defense.py", "--defense", "undefended", *MODEL)
    assert done.returncode == 0, done.stderr
    return copy


@pytest.mark.parametrize("defense", [name for name in DEFENSES if name != "undefended"])
def test_every_defence_trains_it_and_knows_its_work_again(root: Path, defense: str) -> None:
    command = ("digits", "train_defense.py", "--defense", defense, *MODEL)
    done = served.run(root, *command)
    assert done.returncode == 0, done.stderr
    done = served.run(root, *command, "--dry-run")
    assert f"final-all-models/my_models.build/{defense}.pth.tar  there already and up to date" in done.stdout
    if defense in ("dpsgd", "memguard"):  # other layers; a wrapper
        done = served.run(root, "digits/evaluate_MIAs", "evaluate.py", "--defense", defense, *MODEL, *FEW)
        assert done.returncode == 0, done.stderr
        results = root / "digits" / "evaluate_MIAs" / "results" / "my_models.build" / f"{defense}_w_diffence"
        report = json.loads((results / "report.json").read_text())
        assert report["model"] == "my_models:build" and report["label_agreement"] == 1.0


def test_another_function_of_the_same_name_is_refused(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    evaluate = ("digits/evaluate_MIAs", "evaluate.py", "--defense", "undefended", *MODEL, *FEW)
    assert served.run(copy, *evaluate).returncode == 0
    (copy / "my_models.py").write_text(MODULE.replace("torch.relu(h)", "torch.tanh(h)"))  # the weights still fit
    done = served.run(copy, *evaluate)
    assert done.returncode == 1
    assert (
        "was trained with another network than my_models:build makes now (my_models:build.architecture: " in done.stderr
    )
    done = served.run(copy, "digits", "train_defense.py", "--defense", "undefended", *MODEL, "--dry-run")
    assert "trained anew: classifier.my_models:build.architecture: " in done.stdout
    (copy / "my_models.py").unlink()
    done = served.run(copy, *evaluate)
    assert done.returncode == 1 and "error: --model my_models:build: no module my_models on PYTHONPATH" in done.stderr


@pytest.mark.parametrize("model", ["resnet18", "../my_models:build", "my_models:build:more"])
def test_other_names_are_wrong_usage(root: Path, model: str) -> None:
    done = served.run(root, "digits", "train_defense.py", "--defense", "undefended", "--model", model)
    assert done.returncode == 2
    assert f"must be resnet, resnet50, densenet121, vgg16_bn, vit, or like my_models:build, not {model}" in done.stderr


def test_a_classifier_trained_elsewhere_is_brought_on_the_users_word(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    models = copy / "digits" / "final-all-models" / "my_models.build"
    weights = torch.load(models / "undefended.pth.tar", weights_only=True)["state_dict"]
    torch.save({f"module.{key}": value for key, value in weights.items()}, copy / "digits" / "weights.pth")
    bring = ("digits", "train_defense.py", "--defense", "undefended", *MODEL, "--from", "weights.pth")
    done = served.run(copy, *bring)  # ours is there
    assert done.returncode == 1 and "is there already and is another one: move it away" in done.stderr
    shutil.rmtree(models)
    for _ in range(2):  # and again, which changes nothing
        done = served.run(copy, *bring)
        assert done.returncode == 0 and "is the word of whoever brought it" in done.stdout, done.stderr
    evaluate = ("digits/evaluate_MIAs", "evaluate.py", "--defense", "undefended", *MODEL, *FEW)
    done = served.run(copy, *evaluate)
    assert done.returncode == 0, done.stderr
    results = copy / "digits" / "evaluate_MIAs" / "results" / "my_models.build" / "undefended"
    report = json.loads((results / "report.json").read_text())
    assert any("is the word of whoever brought it" in note for note in report["notes"])
    assert report["permutation"]["trained_with_it"] is None
    done = served.run(copy, "digits", "train_shadows.py", "--defense", "undefended", *MODEL, "--count", "8")
    assert done.returncode == 0, done.stderr
    done = served.run(copy, *evaluate[:4], *MODEL, "--shadows")
    assert done.returncode == 0 and "an attacker who knows that one does better" in " ".join(done.stdout.split())
    done = served.run(copy, *bring[:-2])  # a training does not take its place
    assert done.returncode == 1 and "was trained elsewhere and will not be overwritten" in done.stderr
    shutil.rmtree(models)
    torch.save({"0.weight": torch.zeros(2)}, copy / "digits" / "weights.pth")
    done = served.run(copy, *bring)
    assert done.returncode == 1 and "weights.pth: the weights do not fit" in done.stderr
    done = served.run(copy, "digits", "train_defense.py", "--defense", "hamp", *MODEL, "--from", "weights.pth")
    assert done.returncode == 1 and "--from: a classifier from elsewhere is --defense undefended" in done.stderr
