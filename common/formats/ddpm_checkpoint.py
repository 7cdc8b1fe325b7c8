"""The published form of a diffusion model: a checkpoint (half.pt) with its flags file (half.txt) beside it."""

from pathlib import Path

from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import linear_alpha_bar
from common.diffusion.training import require_halvings
from common.formats import flags, published
from common.models.unet import UNet
from common.runtime import storage
from common.runtime.device import Compute, accelerate
from common.runtime.errors import UserError


def load_denoiser(
    checkpoint: Path,
    flags_file: Path,
    *,
    channels: int,
    image_size: int,
    compute: Compute,
) -> Denoiser:
    """The averaged model of a checkpoint, with the shape and schedule of the flags file beside it.

    Raises UserError naming the file where one of them cannot be read, or where they do not belong together.
    """
    unet_config, schedule = flags.read(flags_file, image_size=image_size)
    require_halvings(unet_config, image_size=image_size, source=str(flags_file))
    state = storage.load_checkpoint(checkpoint, expect={"ema_model": dict})
    weights = published.without_prefix(state["ema_model"], source=str(checkpoint))
    unet = UNet(unet_config, channels=channels, num_steps=schedule.T)
    try:
        storage.load_weights(unet, weights, path=checkpoint)
    except UserError as error:
        raise UserError(f"{error}; the UNet is the one that {flags_file} describes") from None
    alpha_bar = linear_alpha_bar(T=schedule.T, beta_1=schedule.beta_1, beta_T=schedule.beta_T)
    fast = accelerate(unet.to(compute.device), compile=compute.compile)
    try:
        denoiser = Denoiser(
            fast, alpha_bar, precision=compute.precision, image_shape=(channels, image_size, image_size)
        )
    except ValueError as error:
        raise UserError(f"{flags_file}: no schedule with these --T, --beta_1 and --beta_T: {error}") from None
    return denoiser.eval().requires_grad_(False)
