"""Published checkpoints through the real loaders, against a slow computation from their own names and values."""

import shutil
from pathlib import Path

import pytest
import torch

from common.experiment import fence, subjects
from common.experiment.experiment import Experiment
from common.models.unet import UNet, UNetConfig
from common.runtime.errors import UserError
from common.runtime.paths import REPOSITORY, DatasetFolder
from common.runtime.subject import Subject
from tests.common import published_files as files
from tests.common.formula import images
from tests.common.models.slow import slow_resnet, slow_unet

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # of CIFAR-10
RESNET18 = {"width": 64, "blocks": [2, 2, 2, 2], "channels": 3, "num_classes": 10}


@pytest.fixture
def folder(tmp_path) -> DatasetFolder:
    """cifar10 with its real configuration and nothing trained."""
    for name in ("cifar10", "common"):
        shutil.copytree(REPOSITORY / name / "configs", tmp_path / name / "configs")
    return DatasetFolder(tmp_path / "cifar10")


def experiment(folder: DatasetFolder) -> Experiment:
    return Experiment.at(folder, seed=0, device="cpu")


def double(weights):
    return {name: value.double() if value.is_floating_point() else value for name, value in weights.items()}


@pytest.mark.parametrize("prefix", [lambda weights: weights, files.prefixed])
@pytest.mark.parametrize(("defense", "norm"), [("undefended", "batch"), ("selena", "group"), ("dpsgd", "group")])
def test_a_classifier_computes_what_its_file_says(folder, defense, norm, prefix):
    """GroupNorm is recognised from the names, whatever the defence is called."""
    weights = files.filled(files.resnet_shapes(**RESNET18, norm=norm))
    files.write_classifier(folder.root / "final-all-models" / "resnet" / f"{defense}.pth.tar", prefix(weights))
    defended = subjects.load_classifier(experiment(folder), Subject("resnet", defense))
    x = images(2, 3, 32, 32).double()
    mean, std = (torch.tensor(values).double()[:, None, None] for values in (MEAN, STD))
    expected = slow_resnet(double(weights), (x - mean) / std)
    assert expected.std() > 0.01
    torch.testing.assert_close(defended.classifier.double()(x), expected, rtol=0, atol=1e-10)
    assert (defended.partition, defended.privacy) == (None, None)


@pytest.mark.parametrize("prefix", [lambda weights: weights, files.prefixed])
def test_a_diffusion_model_computes_what_its_file_says(folder, prefix):
    weights = files.filled(files.unet_shapes(**files.UNET_FLAGS, channels=3))
    files.write_ddpm(folder.root / "diff_defense" / "diff_models", prefix(weights), image_size=32)
    denoiser = fence.load_diffusion_model(experiment(folder)).denoiser
    x, t = 2 * images(2, 3, 32, 32).double() - 1, torch.tensor([0, 159])
    expected = slow_unet(double(weights), x, t)
    assert expected.std() > 0.01
    torch.testing.assert_close(denoiser.predict_noise.double()(x, t), expected, rtol=0, atol=1e-10)
    assert denoiser.num_steps == 1000


def test_names_and_shapes_of_the_full_size_are_the_published_ones():
    config = UNetConfig(ch=128, ch_mult=[1, 2, 2, 2], attn=[1], num_res_blocks=2, dropout=0.1)
    with torch.device("meta"):
        ours = UNet(config, channels=3, num_steps=1000).state_dict()
    rule = files.unet_shapes(ch=128, ch_mult=[1, 2, 2, 2], attn=[1], num_res_blocks=2, channels=3)
    assert {name: tuple(value.shape) for name, value in ours.items()} == rule


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"ch": 64}, "timembedding.0.weight is (1000, 32), expected (1000, 64)"),
        ({"attn": []}, "unexpected downblocks.3.attn"),
        ({"attn": [1, 2]}, "missing downblocks.6.attn"),
        ({"num_res_blocks": 1}, "missing downblocks.1.main.weight"),
        ({"ch_mult": [1, 2, 2]}, "missing upblocks.4.attn"),
    ],
)
def test_a_diffusion_model_that_is_not_what_its_flags_say_is_refused(folder, changed, named):
    weights = files.filled(files.unet_shapes(**files.UNET_FLAGS, channels=3))
    flags = {**files.UNET_FLAGS, **changed}
    files.write_ddpm(folder.ddpm.parent, weights, image_size=32, flags=flags)
    assert named in refusal(folder, "half.pt", "half.txt")


def test_a_schedule_of_another_length_than_the_time_table_is_refused(folder):
    weights = files.filled(files.unet_shapes(**files.UNET_FLAGS, channels=3, T=500))
    files.write_ddpm(folder.ddpm.parent, weights, image_size=32, T=1000)
    message = refusal(folder, "half.pt", "half.txt")
    assert "time_embedding.timembedding.0.weight is (500, 32), expected (1000, 32)" in message


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"--img_size=32": "--img_size=64"}, "is for images (3, 64, 64) by half.txt (--img_size)"),
        ({"--ch_mult=1\n": "--ch_mult=1\n" * 4}, "cannot be halved 6 times"),
        (
            {"--beta_1=0.0001": "--beta_1=1e-30", "--beta_T=0.02": "--beta_T=1e-30"},
            "beta_T alpha_bar reaches 0",
        ),  # it never falls
        ({"--ch=32\n": ""}, "ch: missing"),
    ],
)
def test_flags_that_cannot_be_are_refused(folder, changes, named):
    weights = files.filled(files.unet_shapes(**files.UNET_FLAGS, channels=3))
    files.write_ddpm(folder.ddpm.parent, weights, image_size=32)
    text = folder.ddpm_flags.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    folder.ddpm_flags.write_text(text)
    assert named in refusal(folder, "half.txt")


def refusal(folder: DatasetFolder, *names: str) -> str:
    with pytest.raises(UserError) as caught:
        fence.load_diffusion_model(experiment(folder))
    assert all(name in str(caught.value) for name in names)
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("conv3_x.0.shortcut.0.weight", "conv3_x.0.shortcut.2.weight"),
        ("conv2_x.1.residual_function.3.weight", "conv2_x.1.residual_function.6.weight"),
        ("conv1.1.bias", "conv1.2.bias"),
        ("fc.bias", "classifier.bias"),
        ("conv5_x.0.residual_function.0.weight", "layer4.0.conv1.weight"),
    ],
)
def test_an_unknown_name_in_a_published_classifier_is_told_with_its_file(folder, old, new):
    weights = files.filled(files.resnet_shapes(**RESNET18))
    weights[new] = weights.pop(old)
    path = folder.classifier(Subject("resnet", "undefended"))
    files.write_classifier(path, weights)
    with pytest.raises(UserError) as caught:
        subjects.load_classifier(experiment(folder), Subject("resnet", "undefended"))
    assert str(path) in str(caught.value) and new in str(caught.value)


def test_a_published_classifier_answers_with_the_published_settings(folder):
    """HAMP's test-time modification, which the published code leaves out, is on by default."""
    weights = files.filled(files.resnet_shapes(**RESNET18))
    files.write_classifier(folder.classifier(Subject("resnet", "hamp")), weights)
    defended = subjects.load_classifier(experiment(folder), Subject("resnet", "hamp"))
    assert defended.settings["test_time_modification"] is False


def test_nothing_is_left_behind_by_reading(folder):
    weights = files.filled(files.resnet_shapes(**RESNET18))
    path: Path = folder.classifier(Subject("resnet", "undefended"))
    files.write_classifier(path, weights)
    before = path.read_bytes()
    subjects.load_classifier(experiment(folder), Subject("resnet", "undefended"))
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == [path.name]
