"""Images of one shape as images of another, for a diffusion model of other data.

The size is changed by bilinear interpolation, antialiased: made smaller, a pixel is the mean of those that it covers,
weighted by a triangle, so nothing is skipped.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional as F

from common.runtime.errors import UserError

Shape = tuple[int, ...]
"""[C, H, W] of an image"""
Side = Annotated[int, Field(gt=0, le=4096)]
"""Height or width of the images that a diffusion model is for; more is a mistake, and no memory is asked for it"""


def fitted(x: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Images [B, c, h, w] in [0, 1] as images of ``shape``, [B, C, H, W] in [0, 1]; those of that shape as they are.

    Grey images become coloured ones by repeating their channel, and coloured ones grey by the mean of their channels.

    Raises ValueError for any other change of channels.
    """
    channels, height, width = shape
    if x.shape[1] != channels:
        if x.shape[1] != 1 and channels != 1:
            raise ValueError(f"images of {x.shape[1]} channels cannot become images of {channels}")
        x = x.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
    if x.shape[2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def require_fits(image_shape: Shape, own_shape: Shape, *, source: str) -> None:
    """Raise UserError naming ``source`` where images [C, H, W] cannot go through a diffusion model of another shape."""
    given, own = image_shape[0], own_shape[0]
    if given != own and (given, own) != (1, 3):
        raise UserError(
            f"{source}: the diffusion model is for images of {own} channels, but this dataset's have {given}: a model "
            f"of {given} can be used" + (", or of 3 (the grey channel is repeated)" if given == 1 else "")
        )
