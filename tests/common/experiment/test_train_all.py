import pytest

from common.experiment import train_all
from common.runtime.errors import UserError
from common.runtime.paths import REPOSITORY, DatasetFolder

FOLDER = DatasetFolder(REPOSITORY / "digits")


def commands(defenses, models):
    """The commands of each stage, less that of the partition."""
    first, *rest = train_all.stages([FOLDER], defenses, models)
    assert [str(step) for step in first] in ([], ["data_partition.py"])
    return [[str(step) for step in stage] for stage in rest]


def test_every_defence_is_trained_for_every_model_after_what_it_needs():
    assert commands(["hamp", "memguard"], ["resnet", "vit"]) == [
        [
            "train_ddpm.py",
            "train_defense.py --defense undefended",
            "train_defense.py --defense hamp",
            "train_defense.py --defense undefended --model vit",
            "train_defense.py --defense hamp --model vit",
        ],
        ["train_defense.py --defense memguard", "train_defense.py --defense memguard --model vit"],
    ]


def test_every_command_has_a_log_of_its_own():
    first, _ = commands(["selena", "hamp"], ["resnet", "vgg16_bn"])
    assert [FOLDER.train_log(command).name for command in first] == [
        "train_ddpm.log",
        "train_defense-selena.log",
        "train_defense-hamp.log",
        "train_defense-selena-vgg16_bn.log",
        "train_defense-hamp-vgg16_bn.log",
    ]


def test_each_step_is_given_the_settings_of_the_files_that_it_reads():
    first, second = train_all.stages([FOLDER], ["memguard", "hamp"], ["resnet"])[1:]
    settings = ("data.members=10", "ddpm.training.batch_size=4", "hamp.epochs=2")
    options = train_all.Options(3, "cpu", "bf16", settings)
    given = {str(step): options.words(step)[4:] for step in (*first, *second)}
    data = ["--set", "data.members=10"]
    assert given == {
        "train_ddpm.py": ["--precision", "bf16", *data, "--set", "ddpm.training.batch_size=4"],
        "train_defense.py --defense undefended": ["--precision", "bf16", *data],
        "train_defense.py --defense hamp": ["--precision", "bf16", *data, "--set", "hamp.epochs=2"],
        "train_defense.py --defense memguard": data,  # which is right in fp32 only
    }


def test_a_setting_that_no_step_reads_is_refused():
    steps = train_all.stages([FOLDER], ["undefended"], ["resnet"])
    train_all.require_known(["ddpm.unet.ch=32"], steps)
    with pytest.raises(UserError, match="--set hamp: the steps read classifier, data, ddpm, "):
        train_all.require_known(["hamp.epochs=2"], steps)
