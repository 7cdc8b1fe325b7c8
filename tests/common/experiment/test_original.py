"""Classifiers that are trained as in the defences' own papers, beside those that are trained as all are here."""

import json
import shutil

import pytest

from common.experiment import train_defense
from common.experiment.experiment import Experiment
from common.experiment.subjects import load_classifier
from common.runtime import checkpoints
from common.runtime.errors import UserError
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject
from tests import miniature, served

DEFENDED, PLAIN = Subject(defense="selena", original="selena"), Subject(original="selena")


@pytest.fixture(scope="module")
def root(trained, tmp_path_factory):
    """digits with a default classifier, and the two that table IV has of SELENA's setting."""
    copy = shutil.copytree(trained, tmp_path_factory.mktemp("original") / "copy")
    for subject in (DEFENDED, PLAIN):
        done = served.run(copy, "digits", *subject.training_command.split()[1:])
        assert done.returncode == 0, done.stderr
    return copy


def folder(root):
    return DatasetFolder(root / "digits")


def experiment(root):
    return Experiment.at(folder(root), device="cpu", network="classifier")


def test_they_leave_the_default_ones_as_they_were(root, trained):
    default = folder(root).classifier(Subject())
    assert default.read_bytes() == folder(trained).classifier(Subject()).read_bytes()
    below = default.parent
    names = {path.name for path in below.iterdir() if path.name.endswith((".pth.tar", ".teachers"))}
    made = {"original_selena.pth.tar", "original_selena.teachers", "original_undefended_selena.pth.tar"}
    assert names == made | {"undefended.pth.tar"}


def test_they_say_what_they_were_trained_with_and_are_recognised(root):
    for subject in (DEFENDED, PLAIN):
        made_from = checkpoints.read(folder(root).classifier(subject), expect={}).content["made_from"]
        assert made_from["original"] == "selena" and made_from["defense"] == subject.defense
        chosen = {"optimizer": "sgd", "momentum": 0.9, "schedule": "step", "milestones": [1, 2], "factor": 0.2}
        assert made_from["settings"].items() >= (chosen | {"augmentation": "crop_flip"}).items()
        (item,) = train_defense.plan(experiment(root), subject, published=False)
        assert item.state == "there already and up to date"
        assert load_classifier(experiment(root), subject).settings == made_from["settings"]
    (item,) = train_defense.plan(experiment(root), Subject(), published=False)
    assert item.state == "there already and up to date"


def test_two_processes_train_the_same(root, trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "copy")
    command = DEFENDED.training_command.split()
    done = miniature.run(copy, "digits", *command, "--nproc", "2")
    assert done.returncode == 0, done.stderr
    by_one, by_two = (
        {
            name: content
            for name, content in miniature.files_below(folder(each).classifier(DEFENDED).parent).items()
            if name.startswith("original_selena.") and name.endswith(".pth.tar")
        }
        for each in (root, copy)
    )
    assert "original_selena.teachers/02.pth.tar" in by_one and by_one == by_two


def evaluate(root, *words):
    fence = ("-N", "2", "-T", "50", "--scenario", "3")
    return served.run(root, "digits/evaluate_MIAs", "evaluate.py", *words, *fence, *miniature.FEW)


def test_they_are_evaluated_apart_and_stand_in_the_summary_by_their_setting(root):
    for words in (
        "--defense undefended",
        "--defense undefended --original selena",
        "--defense selena --original selena",
    ):
        done = evaluate(root, *words.split())
        assert done.returncode == 0, done.stderr
    results = folder(root).work / "evaluate_MIAs" / "results"
    homes = ("undefended", "original_undefended_selena", "original_selena")
    assert {path.name for path in results.iterdir()} == {
        f"{home}{end}" for home in homes for end in ("", "_w_diffence")
    }
    reports = [json.loads((results / home / "report.json").read_text()) for home in homes]
    assert [report.get("original", "as here") for report in reports] == ["as here", "selena", "selena"]
    assert len({report["inputs"]["digits/data/partition.json"] for report in reports}) == 1
    done = miniature.run(root, ".", "python", "-m", "common.summary", "--dataset", "digits")
    assert done.returncode == 0, done.stderr
    names = [line.split("  ")[0] for line in done.stdout.splitlines() if line.startswith(("undefended", "selena"))]
    assert names == ["undefended", "undefended (resnet), as in selena's paper", "selena (resnet), as in selena's paper"]


def test_over_seeds_they_are_trained_and_evaluated_as_all_are(root):
    done = evaluate(root, "--defense", "undefended", "--original", "selena", "--seeds", "3")
    assert done.returncode == 0, done.stderr
    assert "undefended (resnet), as in selena's paper, seeds 3" in done.stdout
    trained = folder(root).of_seed(3).work / "final-all-models" / "resnet"
    assert [path.name for path in trained.glob("*.pth.tar")] == ["original_undefended_selena.pth.tar"]


def test_one_in_the_place_of_the_other_is_refused(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "copy")
    default, original = (folder(copy).classifier(subject) for subject in (Subject(), PLAIN))
    for source, place, subject, said in (
        (folder(root).classifier(PLAIN), default, Subject(), "undefended of digits as in selena's paper, and stands"),
        (folder(root).classifier(Subject()), original, PLAIN, "undefended of digits, and stands"),
    ):
        shutil.copy(source, place)
        with pytest.raises(UserError, match=f"was trained as {said}"):
            load_classifier(experiment(copy), subject)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train_defense.py --defense hamp --original selena", "for --defense selena and undefended, not hamp"),
        ("train_defense.py --defense selena --original selena --published", "not allowed with argument"),
        ("train_defense.py --defense advreg --original advreg", "invalid choice: 'advreg'"),
        (
            "train_defense.py --defense selena --original selena --set hamp.epochs=2",
            "this command reads data, classifier",
        ),
        ("evaluate_MIAs/evaluate.py --defense hamp --original hamp", "--defense hamp --original hamp` in digits/"),
        ("evaluate_MIAs/evaluate.py --defense selena --original selena --shadows", "no shadow models of --original"),
    ],
)
def test_what_is_not_there_is_said(root, command, said):
    done = served.run(root, "digits", *command.split())
    assert done.returncode != 0 and said in done.stderr
