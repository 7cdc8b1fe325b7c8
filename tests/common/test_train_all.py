from common import train_all
from common.paths import REPOSITORY, DatasetFolder

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
