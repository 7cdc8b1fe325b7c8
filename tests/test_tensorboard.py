"""--tensorboard: what the two trainings leave for TensorBoard, and that nothing else depends on it."""

import shutil
from pathlib import Path

import pytest

from tests import served

pytest.importorskip("tensorboard", reason="requirements-tensorboard.txt")


def events(folder: Path) -> tuple[dict[str, list[int]], list[str]]:
    """Scalars with their steps, and the names of the pictures."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [each.step for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}, found.Tags()["images"]


def test_diffusion_model_and_teachers_are_told_of_and_stay_the_same(trained: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(trained, tmp_path / "copy"))
    models = root / "digits" / "diff_defense" / "diff_models"
    shutil.rmtree(models)
    done = served.run(root, "digits", "train_ddpm.py", "--tensorboard")
    assert done.returncode == 0, done.stderr
    scalars, pictures = events(models / "half.pt.events")
    assert scalars == {"loss": [1, 2, 3], "learning rate/optimizer": [1, 2, 3]} and pictures == ["purified", "samples"]
    plain = trained / "digits" / "diff_defense" / "diff_models"
    for name in ("half.pt", "half.txt", "half.pt.log.csv", "samples.png", "purified.png"):
        assert (models / name).read_bytes() == (plain / name).read_bytes(), name

    done = served.run(root, "digits", "train_defense.py", "--defense", "selena", "--tensorboard")
    assert done.returncode == 0, done.stderr
    folder = root / "digits" / "final-all-models" / "resnet"
    for place in ("selena.pth.tar.events", "selena.teachers/00.pth.tar.events", "selena.teachers/02.pth.tar.events"):
        scalars, _ = events(folder / place)
        assert scalars.keys() >= {"loss", "train_accuracy", "learning rate/optimizer"} and scalars["loss"] == [1, 2, 3]
    said = done.stderr.splitlines()
    assert [line.split(":")[0] for line in said if not line.startswith("2")] == ["teachers of selena", "selena"]
