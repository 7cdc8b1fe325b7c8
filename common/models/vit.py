"""Vision Transformer (Dosovitskiy et al., ICLR 2021): torchvision's, with patches of a few pixels and any channels."""

from typing import Any

import torchvision
from torch import nn

from common.runtime.errors import UserError
from common.runtime.images import ImageSpec, Size


class VisionTransformer(torchvision.models.VisionTransformer):
    """Normalised images [B, C, image_size, image_size] -> logits [B, K], which are all 0 before training.

    No dropout: Opacus computes the gradients of its samples in a second pass, which would draw other masks.
    """

    def __init__(
        self,
        *,
        channels: int,
        num_classes: int,
        image_size: Size,
        patch_size: int,
        layers: int,
        heads: int,
        hidden: int,
        mlp: int,
    ) -> None:
        if not isinstance(image_size, int):
            raise UserError(
                "--model vit takes square images only, and these are {}x{}: choose another --model, or give "
                "configs/data.yaml a square size".format(*image_size)
            )
        if image_size % patch_size:
            raise UserError(
                f"configs/classifier.yaml: patch_size of vit: images of size {image_size} cannot be cut into patches "
                f"of {patch_size}"
            )
        super().__init__(image_size, patch_size, layers, heads, hidden, mlp, num_classes=num_classes)
        self.conv_proj = nn.Conv2d(channels, hidden, patch_size, stride=patch_size)
        nn.init.trunc_normal_(self.conv_proj.weight, std=(channels * patch_size**2) ** -0.5)
        assert self.conv_proj.bias is not None
        nn.init.zeros_(self.conv_proj.bias)


def build(settings: dict[str, Any], spec: ImageSpec) -> VisionTransformer:
    return VisionTransformer(
        channels=spec.channels, num_classes=spec.num_classes, image_size=spec.image_size, **settings
    )
