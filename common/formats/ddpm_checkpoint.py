"""The published form of a diffusion model: a checkpoint (half.pt) with its flags file (half.txt) beside it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from common.diffusion.fitting import require_fits
from common.diffusion.saving import with_weights
from common.diffusion.schedule import ScheduleConfig, linear_alpha_bar
from common.diffusion.training import DDPMConfig, require_halvings
from common.formats import flags, published
from common.formats.diffusion_model import DiffusionModel, ready
from common.models.unet import UNet, UNetConfig
from common.runtime import checkpoints, config
from common.runtime.device import Compute
from common.runtime.errors import UserError
from common.runtime.images import Size, sides
from common.runtime.storage import FileRead
from common.training.provenance import Provenance


def load_denoiser(
    checkpoint: Path,
    flags_file: Path,
    *,
    channels: int,
    image_size: Size,
    compute: Compute,
) -> DiffusionModel:
    """The averaged model of a checkpoint, with the shape and schedule of the flags file beside it.

    channels, image_size:  of the images to be purified; they are fitted to the model's own

    Raises UserError naming the file where one of them cannot be read, or where they do not belong together.
    """
    unet_config, schedule, own_size, described = flags.read(flags_file)
    require_halvings(unet_config, image_size=own_size, source=str(flags_file))
    read = checkpoints.read(checkpoint, expect={"ema_model": dict})
    made_from, trained = _provenance(read.content, unet_config, schedule, checkpoint, flags_file)
    weights = published.without_prefix(read.content["ema_model"], source=str(checkpoint))
    own_channels, image_shape = _channels_of(weights, otherwise=channels), (channels, *sides(image_size))
    own_shape = (own_channels, *sides(own_size))
    require_fits(image_shape, own_shape, source=str(checkpoint))
    unet = with_weights(
        lambda: UNet(unet_config, channels=own_channels, num_steps=schedule.T),
        weights,
        path=checkpoint,
        described=flags_file,
    )
    denoiser = ready(
        unet,
        linear_alpha_bar(T=schedule.T, beta_1=schedule.beta_1, beta_T=schedule.beta_T),
        compute=compute,
        image_shape=image_shape,
        own_shape=own_shape,
        only_steps=None if trained is None else trained.training.only_steps,
    )
    files = [
        FileRead(checkpoint, read.sha256, read.checked),
        replace(described, checked=None if made_from else False),
    ]
    return DiffusionModel(denoiser, files, made_from)


def _channels_of(weights: dict[str, Any], *, otherwise: int) -> int:
    """Of the images that the weights are for, which no flags file says: those of the first convolution."""
    head = weights.get("head.weight")
    return head.shape[1] if isinstance(head, torch.Tensor) and not head.is_nested and head.ndim == 4 else otherwise


def _provenance(
    content: dict[str, Any], unet: UNetConfig, schedule: ScheduleConfig, checkpoint: Path, flags_file: Path
) -> tuple[Provenance, DDPMConfig] | tuple[None, None]:
    """What the checkpoint says that it was made from; UserError where that is another network or schedule."""
    if "made_from" not in content:
        return None, None
    made_from = config.parse(content["made_from"], Provenance, source=f"{checkpoint}: made_from")
    trained = config.parse(made_from.ddpm, DDPMConfig, source=f"{checkpoint}: made_from.ddpm")
    for described, own in ((unet, trained.unet), (schedule, trained.schedule)):
        for (name, value), (_, wanted) in zip(described, own, strict=True):
            if value != wanted:
                raise UserError(
                    f"{flags_file} says {name} = {value}, but {checkpoint.name} was trained with {wanted}: "
                    "the two files do not belong together"
                )
    return made_from, trained
