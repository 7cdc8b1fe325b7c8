import shutil

import pytest

from common.experiment import train_defense
from common.experiment.experiment import Experiment
from common.runtime import checkpoints
from common.runtime.errors import UserError
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject
from tests import served


@pytest.fixture
def folder(trained, tmp_path):
    """digits with an undefended classifier, one that protects it, and one that does not."""
    root = shutil.copytree(trained, tmp_path / "copy")
    for defense in ("memguard", "hamp"):
        done = served.run(root, "digits", "train_defense.py", "--defense", defense)
        assert done.returncode == 0, done.stderr
    return DatasetFolder(root / "digits")


def states(folder, **options):
    """What would be done about each."""
    experiment = Experiment.at(folder, device="cpu", network="classifier", **options)
    plans = [
        train_defense.plan(experiment, Subject("resnet", name), published=False)
        for name in ("undefended", "memguard", "hamp")
    ]
    return [item.state for plan in plans for item in plan]


UP_TO_DATE = "there already and up to date"


def test_what_protects_a_classifier_is_made_from_that_classifier_and_the_tuning_members(folder):
    assert states(folder) == [UP_TO_DATE] * 3
    path = folder.classifier(Subject())
    content = checkpoints.read(path, expect={}).content
    checkpoints.save(path, {**content, "best_acc": 0.5})
    first, second, third = states(folder)
    assert first == third == UP_TO_DATE and second.startswith("trained anew: undefended: ")
    path.unlink()
    with pytest.raises(UserError, match=r"python train_defense\.py --defense undefended"):
        states(folder)


def test_the_tuning_members_count_for_what_learns_from_them_alone(folder):
    assert served.run(folder.root.parent, "digits", "data_partition.py", "--seed", "7", "--replace").returncode == 0
    first, second, third = states(folder)
    assert "partition: " in first and "tuning_members: " not in first + third
    assert "partition: " in second and "tuning_members: " in second


def test_overrides_and_the_seed_are_part_of_what_a_classifier_is_made_from(folder):
    changed = states(folder, seed=3, overrides={"hamp": {"epochs": 7}})
    assert changed[2] == "trained anew: seed: 0 -> 3, settings.epochs: 3 -> 7"


def test_the_normalisation_is_part_of_what_a_classifier_is_made_from_where_its_checkpoint_says_it(folder):
    other = {"data": {"mean": [0.9]}}
    assert [now.startswith("trained anew: normalisation.mean: ") for now in states(folder, overrides=other)] == [
        True
    ] * 3
    path = folder.classifier(Subject("resnet", "hamp"))
    content = checkpoints.read(path, expect={}).content
    del content["made_from"]["normalisation"]  # of a version that did not say it
    checkpoints.save(path, content)
    assert states(folder)[2] == states(folder, overrides=other)[2] == UP_TO_DATE
