"""The published form of a diffusion model: a checkpoint (half.pt) with its flags file (half.txt) beside it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import ScheduleConfig, linear_alpha_bar
from common.diffusion.training import DDPMConfig, require_halvings
from common.formats import flags, published
from common.formats.diffusion_model import DiffusionModel
from common.models.unet import UNet, UNetConfig
from common.runtime import checkpoints, config
from common.runtime.device import Compute, accelerate
from common.runtime.errors import UserError
from common.runtime.storage import FileRead
from common.training.jobs import Provenance


def load_denoiser(
    checkpoint: Path,
    flags_file: Path,
    *,
    channels: int,
    image_size: int,
    compute: Compute,
) -> DiffusionModel:
    """The averaged model of a checkpoint, with the shape and schedule of the flags file beside it.

    Raises UserError naming the file where one of them cannot be read, or where they do not belong together.
    """
    unet_config, schedule, described = flags.read(flags_file, image_size=image_size)
    require_halvings(unet_config, image_size=image_size, source=str(flags_file))
    read = checkpoints.read(checkpoint, expect={"ema_model": dict})
    made_from, trained = _provenance(read.content, unet_config, schedule, checkpoint, flags_file)
    weights = published.without_prefix(read.content["ema_model"], source=str(checkpoint))
    try:
        with torch.device("meta"):  # no memory is asked for before the weights are known to fit
            checkpoints.load_weights(
                UNet(unet_config, channels=channels, num_steps=schedule.T), weights, path=checkpoint
            )
        unet = UNet(unet_config, channels=channels, num_steps=schedule.T)
        checkpoints.load_weights(unet, weights, path=checkpoint)
    except UserError as error:
        raise UserError(f"{error}; the UNet is the one that {flags_file} describes") from None
    alpha_bar = linear_alpha_bar(T=schedule.T, beta_1=schedule.beta_1, beta_T=schedule.beta_T)
    fast = accelerate(unet.to(compute.device), compile=compute.compile)
    denoiser = Denoiser(
        fast,
        alpha_bar,
        precision=compute.precision,
        image_shape=(channels, image_size, image_size),
        only_steps=None if trained is None else trained.training.only_steps,
    )
    files = [
        FileRead(checkpoint, read.sha256, read.checked),
        replace(described, checked=None if made_from else False),
    ]
    return DiffusionModel(denoiser.eval().requires_grad_(False), files, made_from)


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
