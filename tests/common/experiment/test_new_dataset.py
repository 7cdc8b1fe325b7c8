import shutil

import numpy as np
import pytest
from PIL import Image

from common.data.config import DatasetConfig
from common.diffence.measures import DiffenceConfig
from common.diffusion.training import DDPMConfig
from common.experiment import new_dataset
from common.experiment.new_dataset import Wanted
from common.runtime import config
from common.runtime.errors import UserError
from common.runtime.paths import REPOSITORY, DatasetFolder, dataset_names
from common.training.classifier import TrainingConfig
from tests.common.data import imitations


@pytest.fixture
def root(tmp_path):
    for name in ("cifar10", "digits"):
        generated = shutil.ignore_patterns("__pycache__", "data", "final-all-models", "diff_models", "results", "banks")
        shutil.copytree(REPOSITORY / name, tmp_path / "repository" / name, ignore=generated)
    shutil.copytree(REPOSITORY / "common" / "configs", tmp_path / "repository" / "common" / "configs")
    return tmp_path / "repository"


def made(root, **wanted):
    new_dataset.make(root, Wanted(**wanted))
    return settings(root, wanted["name"])


def settings(root, name, file="data", model=DatasetConfig):
    return config.load(DatasetFolder(root / name).config(file), model)


@pytest.fixture
def birds(tmp_path):
    return imitations.pictures(tmp_path / "pictures", imitations.BIRDS, each=9, size=(20, 24))


def test_a_folder_says_what_its_pictures_are(root, birds):
    found = made(root, name="birds", images=birds)
    assert (found.image_size, found.channels, found.classes) == ((20, 24), 3, 7)
    assert (found.members, found.reference, found.validation) == (21, 21, 2)
    pixels = np.stack(
        [np.asarray(imitations.picture(label + 10 * n, (20, 24))) for label in range(7) for n in range(9)]
    )
    assert np.allclose(found.mean, pixels.mean(axis=(0, 1, 2)) / 255, atol=1e-3)
    assert np.allclose(found.std, pixels.std(axis=(0, 1, 2)) / 255, atol=1e-3)
    assert "birds" in dataset_names(root)
    assert settings(root, "birds", "undefended", TrainingConfig).epochs == 100
    assert settings(root, "birds", "ddpm", DDPMConfig).unet.ch == 128


def test_one_picture_in_colour_or_of_another_size_is_seen_among_any_number(root, tmp_path, monkeypatch):
    monkeypatch.setattr(new_dataset, "NORMALISED_BY", 3)
    grey = tmp_path / "grey"
    for label in "ab":
        (grey / label).mkdir(parents=True)
        for number in range(20):
            Image.new("L", (9, 9), number).save(grey / label / f"{number:02}.png")
    found = made(root, name="greys", images=grey)
    assert (found.channels, found.image_size) == (1, 9)
    Image.new("RGB", (9, 7)).save(grey / "b" / "19.png")
    found = made(root, name="mixed", images=grey)
    assert (found.channels, found.image_size) == (3, new_dataset.USUAL)


def test_small_pictures_have_the_settings_of_digits_and_large_ones_smaller_batches(root, birds):
    assert made(root, name="birds", images=birds, size=8, channels=1).spec.channels == 1
    assert settings(root, "birds", "ddpm", DDPMConfig).unet.ch == 16
    made(root, name="herons", images=birds, size=64)
    assert settings(root, "herons", "ddpm", DDPMConfig).training.batch_size == 32
    assert settings(root, "herons", "diffence", DiffenceConfig).group_size == 10


def test_known_members_need_no_reference_set_and_no_validation_part(root, birds, tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"auk/{number:03}.png\n" for number in range(9)))
    found = made(root, name="birds", images=birds, members=tmp_path / "list.txt")
    assert (found.members, found.reference, found.validation, found.member_list) == (9, 0, 0, "members.txt")
    assert (root / "birds" / "configs" / "members.txt").read_text() == (tmp_path / "list.txt").read_text()
    assert settings(root, "birds", "undefended", TrainingConfig).checkpoint_selection == "last"


def test_the_papers_other_datasets(root, tmp_path):
    celeba = made(root, name="celeba")
    assert (celeba.image_size, celeba.classes, celeba.members, celeba.limit) == ((218, 178), 8, 10_000, 30_000)
    for number in range(40):
        path = tmp_path / "faces" / f"2{number}_0_{number % 5}_2017.jpg"
        path.parent.mkdir(exist_ok=True)
        imitations.picture(number, (200, 200)).save(path)
    utkface = made(root, name="utkface", images=tmp_path / "faces", labels="utkface")
    assert (utkface.image_size, utkface.classes, utkface.members) == (200, 4, 10)  # a third of 32


def test_what_is_there_or_is_a_package_is_never_hidden(root, birds):
    for name, said in (
        ("digits", "digits/ is there already"),
        ("torch", "torch is the name of a Python package"),
        ("../birds", "small letters"),
        ("Birds", "small letters"),
    ):
        with pytest.raises(UserError, match=said):
            made(root, name=name, images=birds)


def test_a_folder_comes_whole_or_not_at_all(root, birds, monkeypatch):
    monkeypatch.setattr(new_dataset, "_settings", lambda *_: {"ddpm.yaml": 1 / 0})
    with pytest.raises(ZeroDivisionError):
        made(root, name="birds", images=birds)
    assert {path.name for path in root.iterdir()} == {"cifar10", "digits", "common"}


def test_without_scripts_to_copy_nothing_is_made(birds, tmp_path):
    with pytest.raises(UserError, match="has no scripts to copy"):
        made(tmp_path / "elsewhere", name="birds", images=birds)
    assert not (tmp_path / "elsewhere" / "birds").exists()


def test_too_few_pictures_are_told_with_the_least_that_works(root, tmp_path):
    few = imitations.pictures(tmp_path / "few", ("auk", "owl"), each=10, size=(8, 8))
    with pytest.raises(UserError, match="20 images give 6 members and 8 non-members: roles need at least 8 of each"):
        made(root, name="birds", images=few)


@pytest.mark.parametrize(
    ("shape", "labels", "said"),
    [
        ((30, 4, 4), np.zeros(30, int), r"classes: Input should be greater than or equal to 2, found 1"),
        ((30, 1, 4097), np.arange(30) % 2, r"size.*: Input should be less than or equal to 4096, found 4097"),
    ],
)
def test_arrays_that_are_no_dataset_are_refused_by_name(root, tmp_path, shape, labels, said):
    np.savez(tmp_path / "odd.npz", images=np.zeros(shape, dtype=np.uint8), labels=labels)
    with pytest.raises(UserError, match=rf"odd\.npz: \d mistakes?\n(.*\n)*?  {said}"):
        made(root, name="odd", arrays=tmp_path / "odd.npz")
    assert not (root / "odd").exists()
