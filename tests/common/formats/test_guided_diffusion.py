"""Small checkpoints as OpenAI's packages save them, read back and compared with a slow computation."""

import math

import pytest
import torch

from common.formats import guided_diffusion
from common.models.guided_unet import GuidedUNet, GuidedUNetConfig
from common.runtime.device import Compute
from common.runtime.errors import UserError
from tests.common.diffusion.test_fitting import slow_fitted
from tests.common.formula import fill, images
from tests.common.hostile import RunsACommand, assert_checkpoint_armed
from tests.common.models.slow import slow_guided_unet
from tests.common.models.test_guided_unet import DOWN, UP

GUIDED = """\
image_size: 8
num_channels: 32
num_res_blocks: 1
channel_mult: [1, 2]
attention_resolutions: [4]
num_head_channels: 16
resblock_updown: true
learn_sigma: true
use_fp16: true
"""
IMPROVED = """\
image_size: 8
num_channels: 32
num_res_blocks: 1
channel_mult: [1, 2]
attention_resolutions: [4]
num_heads: 4
learn_sigma: true
diffusion_steps: 4000
noise_schedule: cosine
rescale_timesteps: true
"""
NETWORK = {"image_size": 8, "num_channels": 32, "num_res_blocks": 1, "channel_mult": [1, 2], "learn_sigma": True}
KINDS = {
    "guided": (
        GUIDED,
        NETWORK | {"attention_resolutions": [4], "num_head_channels": 16, "resblock_updown": True},
        {"heads": lambda ch: ch // 16, "down": DOWN, "up": UP},
    ),
    "improved": (IMPROVED, NETWORK | {"attention_resolutions": [4], "num_heads": 4}, {"heads": lambda ch: 4}),
}


def save(folder, kind="guided", *, text=None, **network):
    """The weights alone, as a state dict, and the flags; the state dict."""
    flags, own, _ = KINDS[kind]
    weights = fill(GuidedUNet(GuidedUNetConfig(**(own | network)), range(10))).state_dict()
    torch.save(weights, folder / "uncond.pt")
    (folder / "uncond.yaml").write_text(text or flags)
    return weights


def load(folder, *, channels=3, image_size=8):
    return guided_diffusion.load_denoiser(
        folder / "uncond.pt",
        folder / "uncond.yaml",
        channels=channels,
        image_size=image_size,
        compute=Compute(torch.device("cpu")),
    )


def refusal(folder, *names, **shape):
    with pytest.raises(UserError) as caught:
        load(folder, **shape)
    assert all(name in str(caught.value) for name in names), caught.value
    return str(caught.value)


def abar_and_time(kind, step):
    """alpha_bar at a step and what the network is told there, in plain numbers."""
    if kind == "guided":
        return math.prod(1 - (1e-4 + (0.02 - 1e-4) * i / 999) for i in range(step)), step - 1

    def f(i):
        return math.cos((i / 4000 + 0.008) / 1.008 * math.pi / 2) ** 2

    return math.prod(1 - min(0.999, 1 - f(i + 1) / f(i)) for i in range(step)), (step - 1) * 1000 / 4000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("channels", "size"), [(3, 8), (3, 12), (1, 28)])
def test_purification_is_that_of_a_slow_computation(tmp_path, kind, channels, size):
    weights = {key: value.double() for key, value in save(tmp_path, kind).items()}
    denoiser = load(tmp_path, channels=channels, image_size=size).denoiser.double()
    assert denoiser.num_steps == (1000 if kind == "guided" else 4000)
    x = images(2, channels, size, size).double()
    noise = torch.sin(torch.arange(2 * 3 * 8 * 8, dtype=torch.float64) * 1.3).reshape(2, 3, 8, 8)
    for step in (1, 160, denoiser.num_steps // 2):
        abar, time = abar_and_time(kind, step)
        clean = 2 * slow_fitted(x, 8, 8).expand(-1, 3, -1, -1) - 1
        x_s = math.sqrt(abar) * clean + math.sqrt(1 - abar) * noise
        eps = slow_guided_unet(weights, x_s, time, num_channels=32, **KINDS[kind][2])[:, :3]
        x_0 = ((x_s - math.sqrt(1 - abar) * eps) / math.sqrt(abar) + 1) / 2
        assert ((x_0 > 0) & (x_0 < 1)).double().mean() > 0.2  # clamping does not hide the rest
        expected = slow_fitted(x_0.clamp(0, 1), size, size)
        expected = expected if channels == 3 else expected.mean(dim=1, keepdim=True)
        torch.testing.assert_close(denoiser.purify(x, noise, step=step), expected, rtol=0, atol=1e-5)


def test_the_model_is_ready_to_answer_and_its_files_are_named(tmp_path):
    save(tmp_path, text=GUIDED + "dropout: 0.5\n")
    model = load(tmp_path)
    assert [file.path.name for file in model.files] == ["uncond.pt", "uncond.yaml"] and model.made_from is None
    assert not model.denoiser.training and not any(weight.requires_grad for weight in model.denoiser.parameters())


def test_weights_of_half_precision_and_of_wrapped_modules_are_read(tmp_path):
    weights = save(tmp_path)
    torch.save({f"module.{key}": value.half() for key, value in weights.items()}, tmp_path / "uncond.pt")
    read = load(tmp_path).denoiser.predict_noise.state_dict()
    assert all(torch.equal(read[key], value.half().float()) for key, value in weights.items())


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("class_cond: true", "class_cond: Input should be False"),
        ("predict_xstart: true", "predict_xstart: Input should be False"),
        ("noise_schedule: quadratic", "noise_schedule: "),
        ("diffusion_steps: 4000", "rescale_timesteps is missing"),
        ("diffusion_steps: 20\nrescale_timesteps: false", "20 diffusion_steps are too few"),
        ("num_classes: 10", "num_classes: unknown key"),
        ("use_scale_shift_norm: 1", "use_scale_shift_norm: "),
        ("num_heads: 0", "num_heads: "),
    ],
)
def test_flags_of_what_cannot_be_used_are_refused(tmp_path, line, complaint):
    save(tmp_path, text=f"{GUIDED}{line}\n")
    refusal(tmp_path, "uncond.yaml", complaint)


def test_flags_of_another_network_are_refused(tmp_path):
    for old, new, named in [
        ("num_channels: 32", "num_channels: 64", "time_embed.0.weight is (128, 32), expected (256, 64)"),
        ("resblock_updown: true", "resblock_updown: false", "missing input_blocks.2.0.op.weight"),
        ("learn_sigma: true", "learn_sigma: false", "out.2.weight is (6, 32, 3, 3), expected (3, 32, 3, 3)"),
        ("num_channels: 32", "num_channels: 16384", "time_embed.0.weight is"),  # before memory is asked for
    ]:
        save(tmp_path, text=GUIDED.replace(old, new))
        refusal(tmp_path, "uncond.pt", "uncond.yaml", named)


def test_a_class_conditional_checkpoint_and_one_that_is_not_finite_are_refused(tmp_path):
    weights = save(tmp_path)
    torch.save(weights | {"label_emb.weight": torch.zeros(10, 128)}, tmp_path / "uncond.pt")
    refusal(tmp_path, "unexpected label_emb.weight")
    torch.save(weights | {"out.2.bias": weights["out.2.bias"] / 0}, tmp_path / "uncond.pt")
    refusal(tmp_path, "uncond.pt", "not finite: out.2.bias")


def test_images_of_channels_that_do_not_fit_are_refused(tmp_path):
    save(tmp_path)
    refusal(tmp_path, "uncond.yaml", "images of 3 channels, but this dataset's have 4", channels=4)


def test_a_pickle_in_the_checkpoint_is_refused_and_does_not_run(tmp_path):
    save(tmp_path)
    marker = tmp_path / "marker"
    torch.save({"out.2.bias": RunsACommand(marker)}, tmp_path / "uncond.pt")
    refusal(tmp_path, "uncond.pt: not a readable checkpoint")
    assert_checkpoint_armed(tmp_path / "uncond.pt", marker)


@pytest.mark.parametrize("name", ["uncond.pt", "uncond.yaml"])
def test_damaged_files_are_named(tmp_path, name):
    save(tmp_path)
    content = (tmp_path / name).read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\xff\xfe"):
        (tmp_path / name).write_bytes(damaged)
        refusal(tmp_path, str(tmp_path / name))
