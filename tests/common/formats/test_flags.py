import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.diffusion.schedule import ScheduleConfig
from common.diffusion.training import DDPMConfig, DDPMTraining
from common.formats import flags
from common.models.unet import UNetConfig
from common.runtime import config
from common.runtime.errors import UserError
from common.runtime.paths import REPOSITORY

PUBLISHED = """--train
--noeval
--ch=128
--ch_mult=1
--ch_mult=2
--ch_mult=2
--ch_mult=2
--attn=1
--num_res_blocks=2
--dropout=0.1
--T=1000
--beta_1=0.0001
--beta_T=0.02
--img_size=32
--mean_type=epsilon
--var_type=fixedlarge
--logdir=./logs/some where
"""
PUBLISHED_UNET = UNetConfig(ch=128, ch_mult=[1, 2, 2, 2], attn=[1], num_res_blocks=2, dropout=0.1)
PUBLISHED_SCHEDULE = ScheduleConfig(T=1000, beta_1=1e-4, beta_T=0.02)


def read(tmp_path, text):
    path = tmp_path / "half.txt"
    path.write_text(text)
    return flags.read(path)[:2]


def refusal(tmp_path, text):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert "half.txt" in str(caught.value)
    return str(caught.value)


def test_the_published_file_is_read(tmp_path):
    assert read(tmp_path, PUBLISHED) == (PUBLISHED_UNET, PUBLISHED_SCHEDULE)


def test_no_attn_flag_means_no_attention(tmp_path):
    unet, _ = read(tmp_path, PUBLISHED.replace("--attn=1\n", ""))
    assert unet.attn == []


@st.composite
def ddpm_configs(draw):
    ch_mult = draw(st.lists(st.integers(1, 8), min_size=1, max_size=5))
    attn = draw(st.lists(st.integers(0, len(ch_mult) - 1), unique=True))
    betas = st.floats(1e-9, 0.03)
    beta_1, beta_T = sorted([draw(betas), draw(betas)])
    return DDPMConfig(
        unet=UNetConfig(
            ch=32 * draw(st.integers(1, 8)),
            groups=draw(st.sampled_from([32, 16, 8, 1])),
            ch_mult=ch_mult,
            attn=attn,
            num_res_blocks=draw(st.integers(1, 4)),
            dropout=draw(st.floats(0, 0.99)),
        ),
        schedule=ScheduleConfig(T=draw(st.integers(1, 2000)), beta_1=beta_1, beta_T=beta_T),
        training=config.load(REPOSITORY / "cifar10" / "configs" / "ddpm.yaml", DDPMConfig).training,
    )


@given(ddpm_configs())
def test_what_is_written_is_read_back(tmp_path_factory, ddpm):
    path = tmp_path_factory.mktemp("flags") / "half.txt"
    path.write_text(flags.write(ddpm, image_size=32))
    assert flags.read(path)[:2] == (ddpm.unet, ddpm.schedule)


def test_what_is_written_is_what_the_published_trainer_writes():
    training = DDPMTraining.model_construct()
    ddpm = DDPMConfig.model_construct(unet=PUBLISHED_UNET, schedule=PUBLISHED_SCHEDULE, training=training)
    written = set(flags.write(ddpm, image_size=32).split())
    assert written == {line for line in PUBLISHED.split() if "=" in line and "logdir" not in line}


def test_missing_flags_are_all_named(tmp_path):
    message = refusal(tmp_path, PUBLISHED.replace("--ch=128\n", "").replace("--T=1000\n", ""))
    assert "2 mistakes" in message and "unet.ch: missing" in message and "schedule.T: missing" in message


def test_contradictory_flags_are_refused(tmp_path):
    message = refusal(tmp_path, PUBLISHED + "--ch=64\n")
    assert "--ch stands with different values: 128, 64" in message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ch=128", "ch=100"),
        ("ch=128", "ch=wide"),
        ("attn=1", "attn=4"),
        ("beta_T=0.02", "beta_T=nan"),
        ("T=1000", "T=0"),
        ("img_size=32", "img_size=1000000"),
    ],
)
def test_impossible_values_are_refused(tmp_path, old, new):
    assert "1 mistake" in refusal(tmp_path, PUBLISHED.replace(old, new, 1))


def test_a_network_that_does_not_predict_noise_is_refused(tmp_path):
    message = refusal(tmp_path, PUBLISHED.replace("mean_type=epsilon", "mean_type=xstart"))
    assert "--mean_type=xstart" in message and "epsilon" in message


def test_the_size_of_its_images_is_read(tmp_path):
    (tmp_path / "half.txt").write_text(PUBLISHED.replace("img_size=32", "img_size=64"))
    assert flags.read(tmp_path / "half.txt").image_size == 64


SINGLE = ("ch", "num_res_blocks", "dropout", "T", "beta_1", "beta_T", "img_size", "mean_type")


@pytest.mark.parametrize("flag", [*SINGLE, "ch_mult"])
def test_every_flag_that_matters_is_named_where_it_is_missing(tmp_path, flag):
    kept = [line for line in PUBLISHED.splitlines() if not line.startswith(f"--{flag}=")]
    assert f".{flag}: missing" in refusal(tmp_path, "\n".join(kept))


@pytest.mark.parametrize("flag", SINGLE)
def test_every_flag_that_matters_is_named_where_it_has_two_values(tmp_path, flag):
    assert f"--{flag} stands with different values" in refusal(tmp_path, PUBLISHED + f"--{flag}=0.5\n")


@pytest.mark.parametrize(
    "line", ["--eval", "--nofid_use_torch", "--var_type=fixedsmall", "--total_steps=800000", "--T", "# note", "--attn"]
)
def test_booleans_and_flags_of_the_trainer_change_nothing(tmp_path, line):
    assert read(tmp_path, PUBLISHED + line + "\n") == (PUBLISHED_UNET, PUBLISHED_SCHEDULE)


def test_a_value_that_looks_like_flags_is_one_value(tmp_path):
    assert read(tmp_path, PUBLISHED + "--logdir=./a ch=64 --T=10\n") == (PUBLISHED_UNET, PUBLISHED_SCHEDULE)


def test_a_missing_file_says_what_it_is_for(tmp_path):
    with pytest.raises(UserError, match=r"half\.txt not found: .* diffusion checkpoint"):
        flags.read(tmp_path / "half.txt")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "half.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(UserError, match=r"half\.txt: not a text file"):
        flags.read(tmp_path / "half.txt")


def test_a_flag_may_stand_twice_with_one_value(tmp_path):
    path = tmp_path / "half.txt"
    path.write_text(PUBLISHED + "\n--mean_type=epsilon\n--mean_type=epsilon\n--T=1000\n")
    assert flags.read(path)[:2] == (PUBLISHED_UNET, PUBLISHED_SCHEDULE)
