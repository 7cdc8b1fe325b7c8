"""DenseNet-BC (Huang et al., CVPR 2017): torchvision's, with a 3x3 stem that keeps the size of the image."""

from typing import Any

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from common.models.small_images import require_halvings, without_in_place
from common.runtime.images import ImageSpec, Size


class DenseNet(torchvision.models.DenseNet):
    """Normalised images [B, C, H, W] -> logits [B, K]; with 32, 64 and [6, 12, 24, 16] it is DenseNet-121."""

    def __init__(
        self,
        *,
        channels: int,
        num_classes: int,
        image_size: Size,
        growth_rate: int,
        init_features: int,
        blocks: list[int],
    ) -> None:
        require_halvings(image_size, len(blocks) - 1, setting="blocks of densenet121")
        super().__init__(growth_rate, blocks, init_features, num_classes=num_classes)
        self.features.conv0 = nn.Conv2d(channels, init_features, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.features.conv0.weight)
        self.features.pool0 = nn.Identity()
        without_in_place(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As torchvision's, whose last ReLU overwrites what it is given."""
        return self.classifier(F.relu(self.features(x)).mean(dim=(2, 3)))


def build(settings: dict[str, Any], spec: ImageSpec) -> DenseNet:
    return DenseNet(channels=spec.channels, num_classes=spec.num_classes, image_size=spec.image_size, **settings)
