"""Published files put in place, and our own models written in the published format, through the real commands."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from common.experiment import fence, subjects
from common.experiment.experiment import Experiment
from common.runtime import checkpoints
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject
from tests import miniature, served
from tests.common import published_files as files
from tests.common.formula import images
from tests.common.hostile import RunsACommand, assert_armed, assert_checkpoint_armed
from tests.miniature import FEW, TRAIN, files_below, run

ORDER = np.random.RandomState(11).permutation(TRAIN)
RESNET = {"width": 4, "blocks": [1, 1], "channels": 3, "num_classes": 10}
UNET = {"ch": 32, "ch_mult": [1, 1], "attn": [1], "num_res_blocks": 1}


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature repository with published files in place for cifar10, and nothing trained."""
    root = miniature.build(tmp_path_factory.mktemp("downloaded"))
    folder = DatasetFolder(root / "cifar10")
    for defense, norm in (("undefended", "batch"), ("dpsgd", "group")):
        weights = files.filled(files.resnet_shapes(**RESNET, norm=norm))
        files.write_classifier(folder.root / "final-all-models" / "resnet" / f"{defense}.pth.tar", weights)
    weights = files.prefixed(files.filled(files.unet_shapes(**UNET, channels=3)))
    files.write_ddpm(folder.root / "diff_defense" / "diff_models", weights, image_size=32, flags=UNET)
    files.write_permutation(folder.root / "cifar_shuffle.pkl", ORDER)
    return root


def copied(root: Path, to: Path) -> Path:
    return Path(shutil.copytree(root, to / "copy"))


def test_published_files_in_place_are_evaluated_as_they_are(downloaded: Path, tmp_path: Path) -> None:
    root = copied(downloaded, tmp_path)
    before = files_below(root / "cifar10")
    done = run(root, "cifar10", "python", "data_partition.py")
    assert done.returncode == 0, done.stderr
    assert "permutation: cifar_shuffle.pkl" in done.stdout and "not recognised as the published file" in done.stdout
    content = json.loads((root / "cifar10" / "data" / "partition.json").read_text())
    assert content["permutation"] == ORDER.tolist()
    done = run(root, "cifar10/evaluate_MIAs", "bash", "evaluate_mia.sh", "--defense", "undefended")
    assert done.returncode == 0, done.stderr
    results = root / "cifar10" / "evaluate_MIAs" / "results"
    plain, fenced = (
        json.loads((results / name / "report.json").read_text()) for name in ("undefended", "undefended_w_diffence")
    )
    assert fenced["label_agreement"] == 1.0
    for report in (plain, fenced):
        assert report["permutation"]["source"] == "cifar_shuffle.pkl"
        assert (report["permutation"]["published"], report["permutation"]["trained_with_it"]) == (False, None)
    text = (results / "undefended" / "report.txt").read_text()
    assert "members may not be the published members" in text
    assert "WARNING: the classifier was trained elsewhere" in text
    after = files_below(root / "cifar10")
    assert all(after[name] == data for name, data in before.items())  # the authors' files are left as they are


def test_a_group_norm_checkpoint_in_place_is_evaluated(downloaded: Path, tmp_path: Path) -> None:
    root = copied(downloaded, tmp_path)
    assert served.run(root, "cifar10", "data_partition.py").returncode == 0
    done = served.run(root, "cifar10/evaluate_MIAs", "evaluate.py", "--defense", "dpsgd", *FEW)
    assert done.returncode == 0, done.stderr


def test_memguard_is_trained_on_a_published_undefended_classifier(downloaded: Path, tmp_path: Path) -> None:
    root = copied(downloaded, tmp_path)
    for folder, *command in (
        ("cifar10", "data_partition.py"),
        ("cifar10", "train_defense.py", "--defense", "memguard"),
        ("cifar10/evaluate_MIAs", "evaluate.py", "--defense", "memguard", *FEW),
    ):
        done = served.run(root, folder, *command)
        assert done.returncode == 0, done.stderr


def test_a_partition_made_before_the_permutation_was_put_in_place_is_refused(downloaded: Path, tmp_path: Path) -> None:
    root = copied(downloaded, tmp_path)
    np.save(root / "cifar10" / "other.npy", np.arange(TRAIN))
    assert served.run(root, "cifar10", "data_partition.py", "--permutation", "other.npy").returncode == 0
    done = served.run(root, "cifar10/evaluate_MIAs", "evaluate.py", "--defense", "undefended")
    assert done.returncode == 1 and "cifar_shuffle.pkl is there" in done.stderr and "other.npy" in done.stderr
    assert not (root / "cifar10" / "evaluate_MIAs" / "results").exists()


def test_a_hostile_permutation_in_place_is_refused_and_not_run(downloaded: Path, tmp_path: Path) -> None:
    root, marker = copied(downloaded, tmp_path), tmp_path / "marker"
    file = root / "cifar10" / "cifar_shuffle.pkl"
    file.write_bytes(pickle.dumps(RunsACommand(marker), protocol=4))
    done = served.run(root, "cifar10", "data_partition.py")
    assert done.returncode == 1 and file.name in done.stderr and "Traceback" not in done.stderr
    assert not (root / "cifar10" / "data" / "partition.json").exists()
    assert_armed(file, marker)


@pytest.mark.parametrize("path", ["final-all-models/resnet/undefended.pth.tar", "diff_defense/diff_models/half.pt"])
def test_a_hostile_checkpoint_in_place_is_refused_and_not_run(downloaded: Path, tmp_path: Path, path: str) -> None:
    root, marker = copied(downloaded, tmp_path), tmp_path / "marker"
    assert served.run(root, "cifar10", "data_partition.py").returncode == 0
    file = root / "cifar10" / path
    content = checkpoints.read(file, expect={}).content
    torch.save({**content, "epoch": RunsACommand(marker)}, file)
    before = files_below(root / "cifar10")
    done = served.run(root, "cifar10/evaluate_MIAs", "evaluate.py", "--defense", "undefended")
    assert done.returncode == 1 and file.name in done.stderr and "Traceback" not in done.stderr
    assert files_below(root / "cifar10") == before
    assert_checkpoint_armed(file, marker)


@pytest.fixture(scope="module")
def with_defenses(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which digits also has classifiers with GroupNorm, with a defence classifier, and with a wrapper."""
    root = copied(trained, tmp_path_factory.mktemp("defenses"))
    for defense in ("dpsgd", "memguard", "hamp"):
        done = served.run(root, "digits", "train_defense.py", "--defense", defense)
        assert done.returncode == 0, done.stderr
    return root


@pytest.mark.parametrize("defense", ["undefended", "dpsgd", "memguard", "hamp"])
def test_what_is_exported_and_put_in_place_elsewhere_is_the_same_model(
    with_defenses: Path, tmp_path: Path, defense: str
) -> None:
    exported = tmp_path / "exported"
    done = served.run(
        with_defenses, "digits", "export_published.py", "--defense", defense, "--out", str(exported), "--device", "cpu"
    )
    assert done.returncode == 0, done.stderr
    assert files_below(exported).keys() == {
        f"final-all-models/resnet/{defense}.pth.tar",
        "diff_defense/diff_models/half.pt",
        "diff_defense/diff_models/half.txt",
        "digits_shuffle.pkl",
    }
    state = torch.load(exported / "final-all-models" / "resnet" / f"{defense}.pth.tar", weights_only=True)
    norm = "group" if defense == "dpsgd" else "batch"
    expected = files.resnet_shapes(width=4, blocks=[1, 1], channels=1, num_classes=10, norm=norm)
    assert {name: tuple(value.shape) for name, value in state["state_dict"].items()} == expected
    assert {"epoch", "best_acc"} <= state.keys()

    fresh = miniature.build(tmp_path / "fresh")
    shutil.copytree(exported, fresh / "digits", dirs_exist_ok=True)
    assert served.run(fresh, "digits", "data_partition.py", "--seed", "9").returncode == 0  # the file decides
    here, there = (
        Experiment.at(DatasetFolder(root / "digits"), seed=0, device="cpu") for root in (with_defenses, fresh)
    )
    assert np.array_equal(here.partition.permutation.order, there.partition.permutation.order)
    x = images(5, 1, 8, 8)
    ours, theirs = (subjects.load_classifier(place, Subject("resnet", defense)) for place in (here, there))
    assert_equal(ours.classifier.state_dict(), theirs.classifier.state_dict())
    assert torch.equal(ours.classifier(x), theirs.classifier(x))
    assert (ours.settings, ours.privacy, ours.partition) == (theirs.settings, theirs.privacy, theirs.partition)
    assert theirs.partition == there.partition.key  # so it is known whose members these are
    denoisers = [fence.load_diffusion_model(place).denoiser for place in (here, there)]
    assert_equal(*(denoiser.state_dict() for denoiser in denoisers))
    assert torch.equal(*(denoiser(2 * x - 1, step=160) for denoiser in denoisers))

    done = served.run(fresh, "digits", "train_defense.py", "--defense", defense)
    if defense != "memguard":  # which needs the undefended one, that was not exported
        assert done.returncode == 0 and "up to date" in done.stdout
    done = served.run(fresh, "digits/evaluate_MIAs", "evaluate.py", "--defense", defense, *FEW)
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stderr


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_exporting_again_changes_nothing_and_another_file_is_not_overwritten(
    with_defenses: Path, tmp_path: Path
) -> None:
    command = ("digits", "export_published.py", "--defense", "undefended", "--out", str(tmp_path / "out"))
    assert served.run(with_defenses, *command).returncode == 0
    first = files_below(tmp_path / "out")
    mine, left = (tmp_path / "out" / f".{name}.0123456789abcdef.tmp" for name in ("thesis", "digits_shuffle.pkl"))
    for path in (mine, left):
        path.touch()
    assert served.run(with_defenses, *command).returncode == 0
    assert mine.is_file() and not left.exists()  # in a folder that the user named there may be anything
    assert served.run(with_defenses, *command[:3], "hamp", *command[4:]).returncode == 0  # beside it
    assert files_below(tmp_path / "out").items() > first.items()
    (tmp_path / "out" / "digits_shuffle.pkl").write_bytes(b"mine")
    shutil.rmtree(tmp_path / "out" / "final-all-models")
    before = files_below(tmp_path / "out")
    done = served.run(with_defenses, *command)
    assert done.returncode == 1 and "digits_shuffle.pkl is there already" in done.stderr
    assert files_below(tmp_path / "out") == before


def test_another_family_has_no_published_format(with_defenses: Path) -> None:
    command = ("digits", "export_published.py", "--defense", "undefended", "--model", "vit")
    done = served.run(with_defenses, *command)
    assert done.returncode == 1 and "--model vit" in done.stderr and "resnet" in done.stderr
    assert not (with_defenses / "digits" / "exported").exists()


def test_models_are_not_exported_over_themselves(with_defenses: Path) -> None:
    before = files_below(with_defenses / "digits")
    done = served.run(with_defenses, "digits", "export_published.py", "--defense", "undefended", "--out", ".")
    assert done.returncode == 1 and "undefended.pth.tar is there already" in done.stderr
    assert files_below(with_defenses / "digits") == before


def test_what_does_not_load_is_not_exported(with_defenses: Path, tmp_path: Path) -> None:
    root = copied(with_defenses, tmp_path)
    ddpm = root / "digits" / "diff_defense" / "diff_models" / "half.pt"
    ddpm.write_bytes(ddpm.read_bytes()[:1000])
    done = served.run(root, "digits", "export_published.py", "--defense", "undefended")
    assert done.returncode == 1 and "half.pt" in done.stderr
    assert not (root / "digits" / "exported").exists()


def test_a_classifier_of_another_partition_is_told_in_the_report(with_defenses: Path, tmp_path: Path) -> None:
    root = copied(with_defenses, tmp_path)
    assert served.run(root, "digits", "data_partition.py", "--seed", "5", "--replace").returncode == 0
    done = served.run(root, "digits/evaluate_MIAs", "evaluate.py", "--defense", "undefended", *FEW)
    assert done.returncode == 0 and "WARNING: the classifier was trained on another partition" in done.stdout
