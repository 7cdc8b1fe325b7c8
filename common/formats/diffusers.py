"""Diffusion models in the folder format of the diffusers package, as its DDPMPipeline.save_pretrained writes it:

    model_index.json                  the kind of pipeline
    unet/                             config.json and diffusion_pytorch_model.safetensors (or .bin) of a UNet2DModel
    scheduler/scheduler_config.json   the betas

Older folders hold the files of both parts beside model_index.json. The package, an optional dependency, builds the
network; only files of the folder are read, nothing is fetched, and nothing stored in a file is ever run.
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field
from torch import nn

from common.diffusion.fitting import Shape, Side, require_fits
from common.formats.diffusion_model import DiffusionModel, ready
from common.runtime import checkpoints, config, storage
from common.runtime.device import Compute
from common.runtime.errors import UserError
from common.runtime.images import Size, sides
from common.runtime.storage import FileRead

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")  # the first that is there is read


class _Described(config.Strict):
    """A JSON file of which only some keys matter here."""

    model_config = ConfigDict(extra="ignore")


class _Index(_Described):
    kind: Literal["DDPMPipeline", "DDIMPipeline"] = Field(alias="_class_name")


class _UNet(_Described):
    kind: Literal["UNet2DModel"] = Field(alias="_class_name")
    sample_size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)]
    in_channels: int = 3
    out_channels: int = 3
    # bounded because the network is built, if without weights, before it is known whether the file has room for it
    block_out_channels: list[int] = Field(default=[224, 448, 672, 896], min_length=1, max_length=16)
    layers_per_block: Annotated[int, Field(gt=0, le=32)] = 2
    center_input_sample: Literal[False] = False  # else images would be expected in [0, 1]
    time_embedding_type: Literal["positional"] = "positional"
    class_embed_type: None = None
    num_class_embeds: None = None
    quantization_config: None = None


class _Scheduler(_Described):
    kind: Literal["DDPMScheduler", "DDIMScheduler"] = Field(alias="_class_name")
    num_train_timesteps: Annotated[int, Field(gt=0, le=100_000)] = 1000
    prediction_type: Literal["epsilon"] = "epsilon"


class _NoisePredictor(nn.Module):
    """A UNet2DModel called as ``denoiser.NoisePredictor``; its timestep is the index of the beta, from 0."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return self.unet(x, index, return_dict=False)[0]


def files(folder: Path) -> list[Path]:
    """All that is read of a folder: index, the UNet's configuration, its weights, the scheduler's configuration.

    Raises UserError naming what is missing.
    """
    unet, scheduler = (part if part.is_dir() else folder for part in (folder / "unet", folder / "scheduler"))
    if next(unet.glob("*.index.json"), None):
        raise UserError(f"{unet}: its weights are in several files: save them in one (max_shard_size)")
    weights = next((unet / name for name in WEIGHTS if (unet / name).is_file()), unet / WEIGHTS[0])
    variants = sorted(path.name for path in unet.glob("diffusion_pytorch_model.*.*"))
    if not weights.is_file() and variants:
        raise UserError(
            f"{unet} has a variant of the weights only ({', '.join(variants[:4])}): save them without one "
            f"(save_pretrained), or rename the file to {weights.name} if it is to be used"
        )
    found = [folder / "model_index.json", unet / "config.json", weights, scheduler / "scheduler_config.json"]
    for path in found:
        if not path.is_file():
            raise UserError(f"{path} not found: a diffusion model in diffusers' format needs it (save_pretrained)")
    return found


def load_denoiser(
    folder: Path,
    *,
    channels: int,
    image_size: Size,
    compute: Compute,
) -> DiffusionModel:
    """The unconditional noise-predicting UNet2DModel of a folder, with the betas of its scheduler.

    channels, image_size:  of the images to be purified; they are fitted to the model's own

    Raises UserError where the diffusers package is missing, the folder holds another kind of model, or one for images
    of other channels, or its weights do not fit.
    """
    index, unet_file, weights, scheduler_file = paths = files(folder)
    before = [storage.file_sha256(path) for path in paths]
    diffusers = _package(folder)
    _read(index, _Index)
    image_shape, own_shape = (channels, *sides(image_size)), _own_shape(unet_file, _read(unet_file, _UNet))
    require_fits(image_shape, own_shape, source=str(unet_file))
    scheduler_class = getattr(diffusers, _read(scheduler_file, _Scheduler).kind)
    try:
        _require_room(diffusers.UNet2DModel, unet_file, weights)
        unet, loading = diffusers.UNet2DModel.from_pretrained(
            str(unet_file.parent),
            local_files_only=True,
            use_safetensors=weights.suffix == ".safetensors",  # a .bin is read with weights_only
            output_loading_info=True,
            low_cpu_mem_usage=False,
            torch_dtype=torch.float32,
        )
        scheduler = scheduler_class.from_pretrained(str(scheduler_file.parent), local_files_only=True)
        alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), scheduler.alphas_cumprod.double()])
        denoiser = ready(
            _NoisePredictor(unet), alpha_bar, compute=compute, image_shape=image_shape, own_shape=own_shape
        )
    except UserError:
        raise
    except Exception as error:  # whatever a damaged or hostile folder provokes
        raise UserError(f"{folder}: diffusers cannot read it: {' '.join(str(error).split())[:300]}") from error
    _require_whole(weights, unet, loading)
    if [storage.file_sha256(path) for path in paths] != before:
        raise UserError(f"{folder} was changed while it was read: run the same command again")
    read = [FileRead(path, sha256) for path, sha256 in zip(paths, before, strict=True)]
    return DiffusionModel(denoiser, read)


def _package(folder: Path) -> ModuleType:
    try:
        return importlib.import_module("diffusers")
    except ImportError as error:
        raise UserError(
            f"{folder}: reading it needs the diffusers package: `pip install -r requirements-diffusers.txt`"
        ) from error


def _read(path: Path, model: type[config.Config]) -> config.Config:
    try:
        content = storage.read_json(path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a JSON file: {error}") from error
    return config.parse(content, model, source=str(path))


def _own_shape(path: Path, unet: _UNet) -> Shape:
    """[C, H, W] of the images that the network is for. Raises UserError where it is no noise predictor for any."""
    if unet.out_channels not in (unet.in_channels, 2 * unet.in_channels):
        raise UserError(
            f"{path}: in_channels, out_channels are {unet.in_channels, unet.out_channels}, expected as many of both, "
            "or twice as many out where it predicts the variance too"
        )
    size, halvings = unet.sample_size, len(unet.block_out_channels) - 1
    sides = size if isinstance(size, list) else [size, size]
    if any(side % 2**halvings for side in sides):
        raise UserError(f"{path}: sample_size {size} cannot be halved {halvings} times (block_out_channels)")
    return (unet.in_channels, *sides)


def _require_room(network: Any, unet_file: Path, weights: Path) -> None:
    """Raise UserError, before memory is asked for, where the network has more weights than the file has room for."""
    with torch.device("meta"):
        described = network.from_config(network.load_config(str(unet_file.parent), local_files_only=True))
    count, size = sum(weight.numel() for weight in described.parameters()), weights.stat().st_size
    if 2 * count > size:  # of two bytes each at the least
        raise UserError(f"{unet_file} describes a network of {count} weights, for which {weights.name} is too small")


def _require_whole(path: Path, unet: nn.Module, loading: dict[str, Any]) -> None:
    """diffusers leaves what the file lacks as it was drawn, and only warns."""
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading[problem]:
            keys = ", ".join(map(str, list(loading[problem])[:4]))
            raise UserError(f"{path}: the weights do not fit the network in config.json: {problem} {keys}")
    checkpoints.require_finite(unet.state_dict(), path=path)
