from typing import get_args

import pytest

from common.data.config import DatasetConfig
from common.data.partition import DataConfig
from common.defenses import DEFENSES
from common.diffence.measures import DiffenceConfig
from common.diffusion.training import DDPMConfig
from common.evaluation.protocols import EvaluationConfig
from common.models.config import ClassifierConfig
from common.runtime import config
from common.runtime.errors import UserError
from common.runtime.modes import OriginalSettings
from common.runtime.paths import REPOSITORY
from common.runtime.subject import Subject
from common.training.classifier import TrainingConfig

DATASETS = ("cifar10", "cifar100", "svhn", "digits")
SHARED = REPOSITORY / "common" / "configs"
MODELS = {
    "data": DatasetConfig,
    "ddpm": DDPMConfig,
    "classifier": ClassifierConfig,
    "diffence": DiffenceConfig,
    "evaluation": EvaluationConfig,
    **{name: defense.config for name, defense in DEFENSES.items()},
}
GOOD = """epochs: 10
batch_size: 32
learning_rate: 1.0e-3
weight_decay: 0
checkpoint_selection: last
"""


def load(tmp_path, text, model=TrainingConfig):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return config.load(path, model)


def refusal(tmp_path, text, model=TrainingConfig):
    with pytest.raises(UserError) as caught:
        load(tmp_path, text, model)
    assert str(caught.value).startswith(str(tmp_path / "some.yaml"))
    return str(caught.value)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", MODELS)
def test_the_files_of_every_dataset_folder_load(dataset, name):
    config.load(REPOSITORY / dataset / "configs" / f"{name}.yaml", MODELS[name])


def test_each_file_of_settings_has_a_model():
    assert {path.stem for path in SHARED.glob("*.yaml")} == MODELS.keys() - {"data"}


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "svhn"])
def test_the_published_settings_are_the_default(dataset):
    folder = REPOSITORY / dataset / "configs"
    ddpm, diffence = (
        config.load(folder / "ddpm.yaml", DDPMConfig),
        config.load(folder / "diffence.yaml", DiffenceConfig),
    )
    assert (ddpm.unet.ch, ddpm.unet.ch_mult, ddpm.unet.attn, ddpm.unet.num_res_blocks) == (128, [1, 2, 2, 2], [1], 2)
    assert (ddpm.schedule.T, ddpm.schedule.beta_1, ddpm.schedule.beta_T) == (1000, 1e-4, 0.02)
    assert (diffence.num_candidates, diffence.step) == (30, 160)


def test_a_good_file_is_read(tmp_path):
    expected = TrainingConfig(
        epochs=10, batch_size=32, learning_rate=1e-3, weight_decay=0.0, checkpoint_selection="last"
    )
    assert load(tmp_path, GOOD) == expected


def test_all_mistakes_of_a_file_are_in_one_error(tmp_path):
    text = "epochs: 0\nbatch_size: '32'\nlearning_rate: '1e-3'\ncheckpoint_selection: best\ndampening: 0.9\n"
    lines = refusal(tmp_path, text).splitlines()
    assert lines[0].endswith("some.yaml: 6 mistakes")
    for start, part in [
        ("epochs", "greater than 0, found 0"),
        ("batch_size", "valid integer, found '32'"),
        ("learning_rate", "valid number, found '1e-3'"),
        ("weight_decay", "missing"),
        ("checkpoint_selection", "'validation', 'last' or 'test', found 'best'"),
        ("dampening", "unknown key"),
    ]:
        (line,) = [line for line in lines[1:] if line.startswith(f"  {start}: ")]
        assert part in line


def test_one_mistake_is_counted_as_one(tmp_path):
    assert refusal(tmp_path, GOOD + "dampening: 0.9\n").splitlines()[0].endswith(": 1 mistake")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epochs: 10", "epochs: 10.0"),
        ("epochs: 10", "epochs: true"),
        ("epochs: 10", "epochs: null"),
        ("epochs: 10", "epochs: None"),
        ("epochs: 10", "epochs: [10]"),
        ("batch_size: 32", "batch_size: 1"),
        ("learning_rate: 1.0e-3", "learning_rate: .nan"),
        ("learning_rate: 1.0e-3", "learning_rate: .inf"),
        ("learning_rate: 1.0e-3", "learning_rate: 0"),
        ("weight_decay: 0", "weight_decay: -1.0e-9"),
    ],
)
def test_values_of_another_type_or_range_are_refused(tmp_path, old, new):
    message = refusal(tmp_path, GOOD.replace(old, new))
    assert "1 mistake" in message and f"\n  {new.partition(':')[0]}: " in message


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1.0e-3", 0.001), ("1E+2", 100.0), (".5", 0.5), ("5.", 5.0), ("-0.25", -0.25), ("3", 3)],
)
def test_numbers_are_those_of_yaml_1_2(tmp_path, text, value):
    config = load(tmp_path, GOOD.replace("1.0e-3", text.removeprefix("-")))
    assert config.learning_rate == abs(value)


@pytest.mark.parametrize(
    "text", ["010", "00", "-07", "1:30", "1:30.5", "1_000", "1_0.5", "0x10", "0o17", "0b11", "01.5", "1.2.3", "1__"]
)
def test_what_only_looks_like_a_number_is_refused_with_its_line(tmp_path, text):
    """PyYAML takes 010 for 8, 1:30 for 90 and 1_000 for 1000."""
    for given in (text, f"[{text}]"):
        message = refusal(tmp_path, GOOD.replace("32", given))
        assert f"{text} is no plain number" in message and "line 2" in message and "batch_size" in message
    assert "found '010'" in refusal(tmp_path, GOOD.replace("32", "'010'"))


def test_mistakes_inside_a_section_are_named_with_the_section(tmp_path):
    text = (SHARED / "ddpm.yaml").read_text()
    message = refusal(tmp_path, text.replace("ch: 128", "ch: 100").replace("beta_T", "beta_t"), DDPMConfig)
    assert "  unet: ch (100) must be a multiple of groups (32)" in message and "  schedule.beta_T: missing" in message
    assert "  schedule.beta_t: unknown key" in message


def test_a_key_that_stands_twice_is_a_mistake(tmp_path):
    message = refusal(tmp_path, GOOD + "epochs: 20\n")
    assert "key 'epochs' stands twice" in message and "line 6" in message


def test_a_key_that_stands_twice_in_a_section_is_a_mistake(tmp_path):
    assert "key 'width' stands twice" in refusal(
        tmp_path, "resnet: {width: 8, blocks: [1], width: 9}\n", ClassifierConfig
    )


@pytest.mark.parametrize(
    "text", ["epochs: [1, 2\n", "epochs: 1\n  batch_size: 2\n", "\tepochs: 1\n", "x: !!python/name:os.system\n"]
)
def test_what_is_not_plain_yaml_is_refused(tmp_path, text):
    assert "not valid YAML" in refusal(tmp_path, text)


@pytest.mark.parametrize("value", ["!!int ''", "!!bool x", "!!timestamp x", "!!float ''", "!!map {}", "! x", "!!int 3"])
def test_tags_are_refused_by_name(tmp_path, value):
    assert "tags such as" in refusal(tmp_path, f"epochs: {value}\n")
    with pytest.raises(UserError, match=r"--set undefended\.epochs=.*: not a YAML value: tags such as"):
        config.parse_overrides([f"undefended.epochs={value}"])


@pytest.mark.parametrize("text", ["", "just text\n", "- 1\n- 2\n", "null\n"])
def test_a_file_without_keys_is_refused(tmp_path, text):
    assert "the file: " in refusal(tmp_path, text)


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "some.yaml").write_bytes(b"epochs: \xff\xfe")
    with pytest.raises(UserError, match=r"some\.yaml: not valid YAML"):
        config.load(tmp_path / "some.yaml", TrainingConfig)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"some\.yaml not found: every dataset folder needs it"):
        config.load(tmp_path / "some.yaml", TrainingConfig)


def test_a_configuration_cannot_be_changed_after_it_was_checked(tmp_path):
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path, GOOD).epochs = 0


@pytest.mark.parametrize("text", ["members: 2024-99-99\n", "members: !!int foo\n", "? !!set {a}\n: 1\n", "[" * 5000])
def test_whatever_a_hostile_file_provokes_names_the_file(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=r"a\.yaml"):
        config.load(tmp_path / "a.yaml", DataConfig)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "svhn", "digits"])
@pytest.mark.parametrize("name", DEFENSES)
def test_the_published_settings_of_every_defence_load_and_choose_no_checkpoint_on_validation(dataset, name):
    path = REPOSITORY / dataset / "configs" / "published" / f"{name}.yaml"
    assert config.load(path, DEFENSES[name].config).checkpoint_selection in ("test", "last")


ORIGINAL = [
    Subject(defense=each, original=name) for name in get_args(OriginalSettings) for each in ("undefended", name)
]


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_settings_of_the_defences_own_papers_load_and_are_all_there_is(dataset):
    folder = REPOSITORY / dataset / "configs"
    for subject in ORIGINAL:
        settings = config.load(folder / f"{subject.settings}.yaml", DEFENSES[subject.defense].config)
        assert settings.optimizer == "sgd" and settings.checkpoint_selection != "test"
    assert {f"original/{path.stem}" for path in (SHARED / "original").iterdir()} == {each.settings for each in ORIGINAL}


@pytest.mark.parametrize(("dataset", "alpha"), [("cifar10", 1.0), ("cifar100", 3.0)])
def test_what_is_known_of_the_defences_own_papers_stands_there(dataset, alpha):
    folder = REPOSITORY / dataset / "configs" / "original"
    relaxloss = config.load(folder / "relaxloss.yaml", DEFENSES["relaxloss"].config)
    assert (relaxloss.alpha, relaxloss.checkpoint_selection, relaxloss.epochs) == (alpha, "last", 300)
    selena = config.load(folder / "selena.yaml", DEFENSES["selena"].config)
    assert (selena.learning_rate, selena.epochs, selena.augmentation) == (0.1, 200, "crop_flip")
    assert (selena.soft_labels, selena.teachers, selena.left_out) == ("probabilities", 25, 10)
    assert config.load(folder / "hamp.yaml", DEFENSES["hamp"].config).test_time_modification


def test_changes_replace_values_before_the_check(tmp_path):
    path, text = tmp_path / "ddpm.yaml", (SHARED / "ddpm.yaml").read_text()
    path.write_text(text)
    before = config.load(path, DDPMConfig)
    after = config.load(path, DDPMConfig, {"training.batch_size": 7, "unet.attn": [0]})
    assert (after.training.batch_size, after.unet.attn) == (7, [0])
    assert after.schedule == before.schedule
    assert config.changes(path, "ddpm", {"training.batch_size": 7, "schedule.T": 1000}) == [
        f"ddpm.training.batch_size: {before.training.batch_size} -> 7"
    ]
    assert [file.read_text() for file in tmp_path.iterdir()] == [text]  # nothing was written


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("training.batch_size", "7", "training.batch_size: Input should be a valid integer, found '7'"),
        ("training.surprise", 7, "with training.surprise=7: no such key"),
        ("surprise.batch_size", 7, "no such key"),
        ("training.batch_size.more", 7, "no such key"),
        ("unet.attn", [5], "unet: attn names level 5"),
        ("training", {}, "training.total_steps: missing"),
    ],
)
def test_wrong_changes_are_refused_as_mistakes_of_the_file_are(key, value, complaint):
    with pytest.raises(UserError) as caught:
        config.load(REPOSITORY / "digits" / "configs" / "ddpm.yaml", DDPMConfig, {key: value})
    assert "ddpm.yaml" in str(caught.value) and complaint in str(caught.value)


@pytest.mark.parametrize("text", ["", "a", "a=1", "a.b", ".b=1", "a.=1", "a.b=[1", "a.b={x: 1, x: 2}", "a.b=!!set {}x"])
def test_an_override_that_is_none_is_refused_by_its_text(text):
    with pytest.raises(UserError, match="--set"):
        config.parse_overrides([text])


def test_of_two_overrides_of_a_key_the_last_counts_and_values_are_yaml():
    given = ["a.b=1", "a.c.d=1.0e-3", "a.b=null", "e.f=[1, 2]", "e.g=x=y"]
    assert config.parse_overrides(given) == {"a": {"b": None, "c.d": 0.001}, "e": {"f": [1, 2], "g": "x=y"}}


@pytest.fixture
def folder(tmp_path):
    """configs/ of a dataset folder, and an undefended.yaml that all have in common."""
    (tmp_path / "common" / "configs").mkdir(parents=True)
    (tmp_path / "common" / "configs" / "ddpm.yaml").write_text((SHARED / "ddpm.yaml").read_text())
    (tmp_path / "birds" / "configs").mkdir(parents=True)
    return tmp_path / "birds" / "configs"


def test_a_folder_says_only_what_differs(folder):
    path = folder / "ddpm.yaml"
    shared = config.load(path, DDPMConfig)
    assert shared == config.load(SHARED / "ddpm.yaml", DDPMConfig)  # there is no file
    path.write_text("# nothing yet\n")
    assert config.load(path, DDPMConfig) == shared
    path.write_text("unet: {ch_mult: [1, 2], attn: []}\ntraining: {batch_size: 7}\n")
    own = config.load(path, DDPMConfig)
    assert (own.unet.ch_mult, own.unet.attn, own.unet.ch, own.training.batch_size) == ([1, 2], [], shared.unet.ch, 7)
    assert config.changes(path, "ddpm", {"unet.ch": 64, "training.batch_size": 7}) == ["ddpm.unet.ch: 128 -> 64"]
    assert config.load(path, DDPMConfig, {"unet.ch": 64}).unet.ch == 64


def test_a_mistake_is_named_with_the_file_that_it_stands_in(folder):
    path, shared = folder / "ddpm.yaml", folder.parents[1] / "common" / "configs" / "ddpm.yaml"
    path.write_text("unet: {ch: -2}\nsurprise: 1\n")
    shared.write_text(shared.read_text().replace("T: 1000", "T: many"))
    with pytest.raises(UserError) as caught:
        config.load(path, DDPMConfig, {"training.batch_size": 0})
    found = {line.split(":")[0].strip(): line for line in str(caught.value).splitlines()[1:]}
    assert str(caught.value).startswith(str(path)) and found["schedule.T"].endswith(f"(in {shared})")
    assert not any("(in " in found[key] for key in ("unet.ch", "surprise", "training.batch_size"))
