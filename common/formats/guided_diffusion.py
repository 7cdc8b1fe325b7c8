"""Checkpoints of OpenAI's improved-diffusion and guided-diffusion: the weights alone (NAME.pt), and beside them the
flags that they are published with, written down as YAML (NAME.yaml):

    image_size: 256
    num_channels: 256
    num_res_blocks: 2
    attention_resolutions: [32, 16, 8]
    num_head_channels: 64
    resblock_updown: true
    learn_sigma: true

A flag that is not there has the default of the published code, where both packages have the same.
"""

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator

from common.diffusion.fitting import require_fits
from common.diffusion.saving import with_weights
from common.diffusion.schedule import cosine_alpha_bar, linear_alpha_bar
from common.formats import published
from common.formats.diffusion_model import DiffusionModel, ready
from common.models.guided_unet import CHANNELS, GuidedUNet, GuidedUNetConfig
from common.runtime import checkpoints, config, storage
from common.runtime.device import Compute
from common.runtime.errors import UserError
from common.runtime.images import Size, sides
from common.runtime.storage import FileRead

RESCALED = 1000  # steps, whose indices a network is told whose timesteps were rescaled
USUAL_BETAS = (0.0001, 0.02)  # the first and the last of 1,000 steps


class _Flags(GuidedUNetConfig):
    diffusion_steps: Annotated[int, Field(gt=0, le=100_000)] = 1000
    noise_schedule: Literal["linear", "cosine"] = "linear"
    rescale_timesteps: bool | None = None
    class_cond: Literal[False] = False
    predict_xstart: Literal[False] = False
    # of training and sampling: they do not matter here
    use_kl: bool = False
    rescale_learned_sigmas: bool = False
    use_fp16: bool = False
    use_checkpoint: bool = False

    @model_validator(mode="after")
    def _schedule_is_one(self) -> "_Flags":
        if self.rescale_timesteps is None and self.diffusion_steps != RESCALED:
            raise ValueError(
                "rescale_timesteps is missing: with other than 1000 diffusion_steps it matters (the default of "
                "improved-diffusion is true, that of guided-diffusion false)"
            )
        if self.noise_schedule == "linear" and USUAL_BETAS[1] * RESCALED / self.diffusion_steps >= 1:
            raise ValueError(f"no schedule: {self.diffusion_steps} diffusion_steps are too few for a linear one")
        return self

    @property
    def times(self) -> list[float]:
        """What the network is told at each index."""
        scale = RESCALED / self.diffusion_steps if self.rescale_timesteps else 1.0
        return [index * scale for index in range(self.diffusion_steps)]

    @property
    def alpha_bar(self) -> torch.Tensor:
        if self.noise_schedule == "cosine":
            return cosine_alpha_bar(T=self.diffusion_steps)
        beta_1, beta_T = (beta * RESCALED / self.diffusion_steps for beta in USUAL_BETAS)
        return linear_alpha_bar(T=self.diffusion_steps, beta_1=beta_1, beta_T=beta_T)


def load_denoiser(
    checkpoint: Path,
    flags_file: Path,
    *,
    channels: int,
    image_size: Size,
    compute: Compute,
) -> DiffusionModel:
    """The model of a checkpoint, with the shape and schedule of the flags beside it.

    channels, image_size:  of the images to be purified; they are fitted to the model's own

    Raises UserError naming the file where one of them cannot be read, or where they do not belong together.
    """
    before = storage.file_sha256(flags_file)
    flags = config.load(flags_file, _Flags)
    image_shape, own_shape = (channels, *sides(image_size)), (CHANNELS, flags.image_size, flags.image_size)
    require_fits(image_shape, own_shape, source=str(flags_file))
    read = checkpoints.read(checkpoint, expect={})
    unet = with_weights(
        lambda: GuidedUNet(flags, flags.times),
        published.without_prefix(read.content, source=str(checkpoint)),
        path=checkpoint,
        described=flags_file,
    )
    denoiser = ready(unet, flags.alpha_bar, compute=compute, image_shape=image_shape, own_shape=own_shape)
    if storage.file_sha256(flags_file) != before:
        raise UserError(f"{flags_file} was changed while it was read: run the same command again")
    return DiffusionModel(denoiser, [FileRead(checkpoint, read.sha256), FileRead(flags_file, before)])
