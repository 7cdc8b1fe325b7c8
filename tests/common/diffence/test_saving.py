"""A fence as a folder: the same answers after loading, in a process without any dataset, and what is refused."""

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest
import torch
from torch import nn

from common.diffence import EVERYWHERE, Averaging, Diffence, Interval, Matching
from common.diffence.labels import LabelAlone
from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import linear_alpha_bar
from common.models.guided_unet import GuidedUNet, GuidedUNetConfig
from common.models.unet import UNet, UNetConfig
from common.runtime import checkpoints, storage
from common.runtime.device import accelerate
from common.runtime.errors import UserError
from tests.common import hostile
from tests.common.formula import fill, images
from tests.miniature import REPOSITORY, files_below

ALPHA_BAR = linear_alpha_bar(T=100, beta_1=1e-4, beta_T=0.02)
X = images(3, 1, 8, 8)
RULES = {
    "interval": Interval(-0.4, 0.1 + 0.2),
    "everywhere": EVERYWHERE,
    "matching": Matching(torch.tensor([-1.0, 0.1, 1 / 3], dtype=torch.float64), 0.1),
    "exact": Matching(torch.tensor([-1.0, 0.1, 1 / 3], dtype=torch.float64), 0.05, exact=True),
    "averaging": Averaging(),
    "label": LabelAlone(2.9),
}


@pytest.fixture(scope="module")
def classifier():
    return fill(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)))


def unet(precision="fp32", *, last=True):
    config = UNetConfig(ch=32, ch_mult=[1], attn=[0], num_res_blocks=1, dropout=0.5)
    network = fill(UNet(config, channels=1, num_steps=100))
    shape = (1, 8, 8)
    return Denoiser(accelerate(network) if last else network, ALPHA_BAR, precision=precision, image_shape=shape)


def fence(classifier, denoiser=None, **options):
    options = {"num_candidates": 3, "step": 40, "key": b"k" * 20, "batch_size": 4, **options}
    return Diffence(classifier, denoiser or unet(), **options)


@pytest.mark.parametrize("rule", RULES)
def test_a_loaded_fence_answers_the_same_bytes(classifier, tmp_path, rule):
    fenced = fence(classifier, rule=RULES[rule], noise="shared", work="constant", noising="published")
    fenced.save(tmp_path / "saved")
    loaded = Diffence.load(tmp_path / "saved", classifier, device="cpu")
    assert torch.equal(loaded(X), fenced(X))
    names = ("num_candidates", "step", "noising", "noise", "work", "answers", "key", "batch_size")
    assert all(getattr(loaded, name) == getattr(fenced, name) for name in names)
    assert sorted(files_below(tmp_path)) == ["saved/diffusion.pt", "saved/fence.json", "saved/fence.key"]
    assert b"kkkk" not in (tmp_path / "saved" / "fence.json").read_bytes()


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"last": False}], ids=str)
def test_precision_and_layout_are_those_it_was_saved_with(classifier, tmp_path, options):
    fenced = fence(classifier, unet(**options), key=3)
    fenced.save(tmp_path / "saved")
    assert not (tmp_path / "saved" / "fence.key").exists()  # a seed is no secret
    assert torch.equal(Diffence.load(tmp_path / "saved", classifier, device="cpu")(X), fenced(X))


def test_openais_networks_for_images_of_another_size_are_copied_too(classifier, tmp_path):
    config = GuidedUNetConfig(image_size=16, num_channels=32, num_res_blocks=1, channel_mult=[1], learn_sigma=True)
    network = fill(GuidedUNet(config, [index * 10.0 for index in range(100)]))
    fenced = fence(classifier, Denoiser(network, ALPHA_BAR, image_shape=(1, 8, 8), own_shape=(3, 16, 16)))
    fenced.save(tmp_path / "saved")
    assert torch.equal(Diffence.load(tmp_path / "saved", classifier, device="cpu")(X), fenced(X))


SERVE = """
import sys, torch
from torch import nn
from common.diffence import Diffence
classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
classifier.load_state_dict(torch.load("classifier.pt", weights_only=True))
x = torch.load("x.pt", weights_only=True)
torch.save(Diffence.load("saved", classifier, device="cpu")(x), "answers.pt")
assert not any(name.startswith(("common.data", "common.experiment", "common.formats")) for name in sys.modules)
"""


def test_it_is_served_in_a_new_process_without_any_dataset_folder(classifier, tmp_path):
    shutil.copytree(REPOSITORY / "common", tmp_path / "common", ignore=shutil.ignore_patterns("__pycache__"))
    fenced = fence(classifier, rule=RULES["exact"])
    fenced.save(tmp_path / "saved")
    torch.save(classifier.state_dict(), tmp_path / "classifier.pt")
    torch.save(X, tmp_path / "x.pt")
    done = subprocess.run([sys.executable, "-c", SERVE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(tmp_path / "answers.pt", weights_only=True), fenced(X))


def test_without_a_copy_the_same_diffusion_model_must_be_given(classifier, tmp_path):
    fenced = fence(classifier)
    fenced.save(tmp_path / "saved", copy=False)
    assert sorted(files_below(tmp_path)) == ["saved/fence.json", "saved/fence.key"]
    assert torch.equal(Diffence.load(tmp_path / "saved", classifier, denoiser=unet(), device="cpu")(X), fenced(X))
    with pytest.raises(UserError, match=r"saved without its diffusion model: give denoiser=…"):
        Diffence.load(tmp_path / "saved", classifier)
    other = unet()
    with torch.no_grad():
        other.predict_noise.head.bias[0] += 1
    with pytest.raises(UserError, match=r"denoiser=… is another diffusion model"):
        Diffence.load(tmp_path / "saved", classifier, denoiser=other)
    plain = Denoiser(lambda x, index: x, ALPHA_BAR)
    with pytest.raises(UserError, match=r"no function: save with copy=False"):
        fence(classifier, plain).save(tmp_path / "plain")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved"]
    fence(classifier, plain).save(tmp_path / "plain", copy=False)
    Diffence.load(tmp_path / "plain", classifier, denoiser=plain)


def test_a_rule_of_the_users_own_and_a_folder_with_anything_in_it_are_refused(classifier, tmp_path):
    class Own(Averaging):
        pass

    with pytest.raises(UserError, match="a Own cannot be saved"):
        fence(classifier, rule=Own()).save(tmp_path / "saved")
    assert not list(tmp_path.iterdir())
    (tmp_path / "saved").mkdir()  # an empty one is taken
    fence(classifier).save(tmp_path / "saved")
    before = files_below(tmp_path)
    with pytest.raises(UserError, match="saved is there already and is not overwritten"):
        fence(classifier, step=30).save(tmp_path / "saved")
    assert files_below(tmp_path) == before


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes")
def test_only_its_owner_may_read_the_key(classifier, tmp_path):
    fence(classifier).save(tmp_path / "saved")
    key = tmp_path / "saved" / "fence.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o644)
    with pytest.raises(UserError, match=r"fence\.key: others may read this secret"):
        Diffence.load(tmp_path / "saved", classifier)


@pytest.fixture
def saved(classifier, tmp_path):
    fence(classifier).save(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("name", ["fence.json", "fence.key", "diffusion.pt"])
@pytest.mark.parametrize("how", ["missing", "empty", "cut", "flipped"])
def test_a_damaged_or_missing_file_is_refused_by_name(classifier, saved, name, how):
    path = saved / name
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    changed = {"empty": b"", "cut": bytes(data[: len(data) // 2]), "flipped": bytes(data)}
    path.write_bytes(changed.get(how, b""))
    if how == "missing":
        path.unlink()
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        Diffence.load(saved, classifier, device="cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "its format is 2, and version .* reads 1"),
        ({"step": 0}, "step: Input should be greater than 0"),
        ({"more": 1}, "more: unknown key"),
        ({"rule": {"kind": "interval", "lo": 2.0, "hi": 1.0}}, "interval must be two finite numbers"),
        ({"rule": {"kind": "matching", "phi": [2.0, 1.0], "tolerance": 0.1, "exact": False}}, "rule: phi must be"),
        ({"rule": {"kind": "unknown"}}, "rule"),
        ({"diffusion": "0" * 64}, "is another diffusion model than the one"),
        ({"num_candidates": 0}, "num_candidates"),
        ({"step": 4000}, "step must be 1 … 100"),
    ],
)
def test_settings_that_are_none_are_refused_even_with_a_checksum(classifier, saved, change, said):
    path = saved / "fence.json"
    content = {**json.loads(path.read_text()), **change}
    content.pop("checksum")
    path.write_text(json.dumps(storage.with_checksum(content)))
    with pytest.raises(ValueError, match=said):
        Diffence.load(saved, classifier, device="cpu")


def test_a_diffusion_model_that_does_not_fit_its_description_is_refused_before_memory_is_asked_for(classifier, saved):
    path = saved / "diffusion.pt"
    content = checkpoints.read(path, expect={}).content
    content["described"]["network"]["num_steps"] = 10_000_000
    checkpoints.save(path, content)
    with pytest.raises(UserError, match=r"diffusion\.pt: the weights do not fit UNet"):
        Diffence.load(saved, classifier, device="cpu")


def test_nothing_stored_in_a_file_is_run(classifier, saved, tmp_path):
    marker, path = tmp_path / "marker", saved / "diffusion.pt"
    torch.save({"weights": hostile.RunsACommand(marker)}, path)
    with pytest.raises(UserError, match=r"diffusion\.pt: not a readable checkpoint"):
        Diffence.load(saved, classifier, device="cpu")
    hostile.assert_checkpoint_armed(path, marker)
