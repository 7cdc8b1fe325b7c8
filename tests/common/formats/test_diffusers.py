"""Folders that the diffusers package saves here, read back and compared with what its own objects compute."""

import json
import pickle
import socket
import sys
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from common.formats import diffusers as ours
from common.runtime.device import Compute
from common.runtime.errors import UserError
from tests.common.diffusion.test_fitting import slow_fitted
from tests.common.formula import fill, images
from tests.common.hostile import RunsACommand, assert_armed

UNET = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": None,
    "downsample_padding": 0,  # from here on as the widely used CIFAR-10 model
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
SCHEDULES = {
    "linear": {},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.001, "beta_end": 0.05},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "sigmoid": {"beta_schedule": "sigmoid"},
    "given": {"trained_betas": np.linspace(0.001, 0.03, 1000).tolist()},
}


def save(folder, *, scheduler=None, safe=True, **unet):
    model = fill(diffusers.UNet2DModel(**(UNET | unet)))
    pipeline = diffusers.DDPMPipeline(model, scheduler or diffusers.DDPMScheduler())
    pipeline.save_pretrained(folder, safe_serialization=safe)
    return model.eval(), pipeline.scheduler


def load(folder, *, channels=1, image_size=8):
    model = ours.load_denoiser(folder, channels=channels, image_size=image_size, compute=Compute(torch.device("cpu")))
    return model.denoiser


def refusal(folder, **shape):
    with pytest.raises(UserError) as caught:
        load(folder, **shape)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def purified_by_diffusers(unet, scheduler, x, noise, step):
    """Noised and denoised by the schedulers of the package alone."""
    index = torch.tensor([step - 1])
    x_s = scheduler.add_noise(2 * x - 1, noise, index)
    ddim = diffusers.DDIMScheduler(trained_betas=scheduler.betas.tolist(), clip_sample=False)
    ddim.set_timesteps(1000)
    with torch.no_grad():
        eps = unet(x_s, index).sample
    x_0 = ddim.step(eps, step - 1, x_s).pred_original_sample
    return ((x_0 + 1) / 2).clamp(0, 1)


SCHEDULERS = [(diffusers.DDPMScheduler, name) for name in SCHEDULES]
SCHEDULERS += [(diffusers.DDIMScheduler, name) for name in SCHEDULES if name != "sigmoid"]  # which DDIM's does not know


@pytest.mark.parametrize(("kind", "schedule"), SCHEDULERS)
def test_purification_is_what_the_package_itself_computes(tmp_path, kind, schedule):
    unet, scheduler = save(tmp_path, scheduler=kind(**SCHEDULES[schedule]))
    denoiser = load(tmp_path).double()
    assert denoiser.num_steps == 1000
    x = images(5, 1, 8, 8).double()
    noise = torch.sin(torch.arange(x.numel(), dtype=torch.float64) * 1.3).reshape(x.shape)
    for step in (1, 2, 160):
        expected = purified_by_diffusers(unet.double(), scheduler, x, noise, step)
        assert ((expected > 0) & (expected < 1)).double().mean() > 0.2  # clamping does not hide the rest
        torch.testing.assert_close(denoiser.purify(x, noise, step=step), expected, rtol=0, atol=1e-6)


def test_the_network_is_ready_to_answer_and_not_to_train(tmp_path):
    save(tmp_path, dropout=0.5)
    denoiser = load(tmp_path)
    assert not denoiser.training and not any(p.requires_grad for p in denoiser.parameters())
    x, noise = images(3, 1, 8, 8), torch.ones(3, 1, 8, 8)
    assert torch.equal(denoiser.purify(x, noise, step=9), denoiser.purify(x, noise, step=9))


OLD_KEYS = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def test_an_older_folder_without_subfolders_and_with_older_keys_is_read(tmp_path):
    unet, _ = save(tmp_path, safe=False)
    for part in ("unet", "scheduler"):
        for path in (tmp_path / part).iterdir():
            path.rename(tmp_path / path.name)
        (tmp_path / part).rmdir()
    weights = tmp_path / "diffusion_pytorch_model.bin"
    old = {}
    for key, value in torch.load(weights, weights_only=True).items():
        for new, name in OLD_KEYS.items():
            key = key.replace(f".{new}.", f".{name}.")
        old[key] = value
    assert any(".proj_attn." in key for key in old)
    torch.save(old, weights)
    x, index = images(2, 1, 8, 8), torch.tensor([3, 3])
    answer = load(tmp_path).double().predict_noise(x.double(), index)
    torch.testing.assert_close(answer, unet.double()(x.double(), index).sample.detach(), rtol=0, atol=1e-12)
    assert {path.name for path in ours.files(tmp_path)} == {
        "model_index.json", "config.json", "diffusion_pytorch_model.bin", "scheduler_config.json",
    }  # fmt: skip


def test_nothing_is_fetched(tmp_path, monkeypatch):
    save(tmp_path)

    def refuse(*arguments, **named):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(tmp_path)
    refusal(tmp_path / "nowhere")


def test_without_the_package_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    save(tmp_path)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert "pip install -r requirements-diffusers.txt" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("file", "changes", "complaint"),
    [
        ("model_index.json", {"_class_name": "LDMPipeline"}, "_class_name: Input should be 'DDPMPipeline'"),
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "_class_name: Input should be 'UNet2DModel'"),
        ("unet/config.json", {"num_class_embeds": 10}, "num_class_embeds: "),
        ("unet/config.json", {"class_embed_type": "timestep"}, "class_embed_type: "),
        ("unet/config.json", {"center_input_sample": True}, "center_input_sample: "),
        ("unet/config.json", {"time_embedding_type": "fourier"}, "time_embedding_type: "),
        ("unet/config.json", {"quantization_config": {"quant_method": "gguf"}}, "quantization_config: "),
        ("unet/config.json", {"sample_size": None}, "sample_size"),
        ("unet/config.json", {"sample_size": 10**9}, "sample_size"),
        ("unet/config.json", {"sample_size": [8, 8, 8]}, "sample_size"),
        ("unet/config.json", {"sample_size": [8, 7]}, "sample_size [8, 7] cannot be halved 1 times"),
        ("unet/config.json", {"in_channels": 2, "out_channels": 2}, "images of 2 channels, but this dataset's have 1"),
        ("unet/config.json", {"in_channels": 3}, "in_channels, out_channels are (3, 1), expected as many"),
        ("unet/config.json", {"out_channels": 3}, "in_channels, out_channels are (1, 3), expected as many"),
        ("unet/config.json", {"out_channels": 2}, "diffusers cannot read it"),
        ("unet/config.json", {"block_out_channels": [8] * 17, "sample_size": 2**12}, "block_out_channels: List should"),
        ("unet/config.json", {"layers_per_block": 10**6}, "layers_per_block: Input should be less than"),
        ("unet/config.json", {"block_out_channels": [8]}, "diffusers cannot read it"),
        ("unet/config.json", {"block_out_channels": [8, 24]}, "diffusers cannot read it"),
        ("unet/config.json", {"layers_per_block": 2}, "diffusers cannot read it"),
        ("scheduler/scheduler_config.json", {"_class_name": "ScoreSdeVeScheduler"}, "Input should be 'DDPMScheduler'"),
        ("scheduler/scheduler_config.json", {"prediction_type": "v_prediction"}, "prediction_type: "),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "alpha_bar must"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "steep"}, "diffusers cannot read it"),
        ("scheduler/scheduler_config.json", {"beta_start": -0.5}, "diffusers cannot read it"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}, "num_train_timesteps: "),
    ],
)
def test_models_of_another_kind_are_refused(tmp_path, file, changes, complaint):
    save(tmp_path)
    load(tmp_path)
    edit(tmp_path / file, **changes)
    assert complaint in refusal(tmp_path)


@pytest.mark.parametrize("own", [4, 16, [8, 16]])
def test_a_model_of_another_resolution_purifies_there(tmp_path, own):
    unet, scheduler = save(tmp_path, sample_size=own)
    height, width = own if isinstance(own, list) else (own, own)
    x = images(2, 1, 8, 8).double()
    noise = torch.sin(torch.arange(2 * height * width, dtype=torch.float64) * 1.3).reshape(2, 1, height, width)
    resized = slow_fitted(x, height, width)
    expected = slow_fitted(purified_by_diffusers(unet.double(), scheduler, resized, noise, 160), 8, 8)
    denoiser = load(tmp_path).double()
    assert denoiser.shape_of(x.shape[1:]) == (1, height, width)
    torch.testing.assert_close(denoiser.purify(x, noise, step=160), expected, rtol=0, atol=1e-6)


def test_a_model_of_colour_purifies_grey_images_and_no_other_channels_fit(tmp_path):
    save(tmp_path / "grey")
    assert "images of 1 channels, but this dataset's have 3" in refusal(tmp_path / "grey", channels=3)
    unet, scheduler = save(tmp_path / "colour", in_channels=3, out_channels=3)
    x, noise = images(2, 1, 8, 8).double(), images(2, 3, 8, 8).double()
    expected = purified_by_diffusers(unet.double(), scheduler, x.repeat(1, 3, 1, 1), noise, 160).mean(1, keepdim=True)
    purified = load(tmp_path / "colour").double().purify(x, noise, step=160)
    torch.testing.assert_close(purified, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variance", ["learned", "learned_range"])
def test_of_a_model_that_predicts_the_variance_too_the_first_half_is_the_noise(tmp_path, variance):
    scheduler = diffusers.DDPMScheduler(variance_type=variance, beta_schedule="squaredcos_cap_v2")
    unet, _ = save(tmp_path, scheduler=scheduler, in_channels=3, out_channels=6)
    x, noise = images(2, 3, 8, 8).double(), images(2, 3, 8, 8).double()

    def first_half(x_s, index):
        return SimpleNamespace(sample=unet.double()(x_s, index).sample.chunk(2, dim=1)[0])

    expected = purified_by_diffusers(first_half, scheduler, x, noise, 160)
    purified = load(tmp_path, channels=3).double().purify(x, noise, step=160)
    torch.testing.assert_close(purified, expected, rtol=0, atol=1e-6)


FILES = (
    "model_index.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "scheduler/scheduler_config.json",
)


@pytest.mark.parametrize("name", FILES)
def test_missing_and_damaged_files_are_named(tmp_path, name):
    save(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\xff\xfe"):
        path.write_bytes(damaged)
        refusal(tmp_path)
    path.unlink()
    assert f"{path} not found" in refusal(tmp_path)


def test_weights_that_do_not_fit_or_are_not_finite_are_refused(tmp_path):
    save(tmp_path)
    path = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    for changed, complaint in (
        ({key: value for key, value in weights.items() if key != "conv_in.bias"}, "missing_keys conv_in.bias"),
        (weights | {"surprise": torch.zeros(1)}, "unexpected_keys surprise"),
        (weights | {"conv_in.bias": weights["conv_in.bias"] / 0}, "not finite: conv_in.bias"),
    ):
        save_file(changed, path)
        assert complaint in refusal(tmp_path)


def test_a_pickle_in_the_weights_is_refused_and_does_not_run(tmp_path):
    save(tmp_path / "model", safe=False)
    path, marker = tmp_path / "model" / "unet" / "diffusion_pytorch_model.bin", tmp_path / "marker"
    load(tmp_path / "model")
    torch.save({"conv_in.bias": RunsACommand(marker)}, path)
    refusal(tmp_path / "model")
    assert not marker.exists()
    path.write_bytes(pickle.dumps(RunsACommand(marker), protocol=2))
    refusal(tmp_path / "model")
    assert_armed(path, marker)


def test_weights_in_several_files_are_refused(tmp_path):
    unet, _ = save(tmp_path)
    unet.save_pretrained(tmp_path / "unet", max_shard_size="10KB")
    assert "several files" in refusal(tmp_path)


def test_a_folder_that_has_only_a_variant_of_the_weights_is_told_so(tmp_path):
    save(tmp_path)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert "has a variant of the weights only (diffusion_pytorch_model.fp16.safetensors)" in refusal(tmp_path)


def test_another_kind_of_scheduler_is_named(tmp_path):
    save(tmp_path)
    edit(tmp_path / "scheduler" / "scheduler_config.json", _class_name="EulerDiscreteScheduler")
    assert "EulerDiscreteScheduler" in refusal(tmp_path)


def test_a_network_for_which_the_file_has_no_room_is_refused_before_memory_is_asked_for(tmp_path):
    save(tmp_path)
    edit(tmp_path / "unet" / "config.json", block_out_channels=[2**20, 2**20])
    message = refusal(tmp_path)
    assert "describes a network of" in message and "is too small" in message
