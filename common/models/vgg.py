"""VGG with batch normalisation (Simonyan and Zisserman, ICLR 2015): torchvision's, with a head for small images."""

from typing import Any

import torch
from torch import nn
from torchvision.models.vgg import make_layers

from common.models.small_images import require_halvings, without_in_place
from common.runtime.images import ImageSpec, Size


class VGG(nn.Module):
    """Normalised images [B, C, H, W] -> logits [B, K]; ``stages``: channels of the convolutions between poolings.

    torchvision's VGG resizes the last feature map to 7x7 (for images of 32x32, one pixel repeated 49 times) and spends
    100 million weights on it; here its mean over the pixels goes into the fully connected layers. The state dict has
    torchvision's keys.
    """

    def __init__(
        self,
        *,
        channels: int,
        num_classes: int,
        image_size: Size,
        stages: list[list[int]],
        hidden: int,
        dropout: float,
    ) -> None:
        require_halvings(image_size, len(stages), setting="stages of vgg16_bn")
        super().__init__()
        self.features = make_layers([layer for stage in stages for layer in (*stage, "M")], batch_norm=True)
        self.features[0] = nn.Conv2d(channels, stages[0][0], 3, padding=1)
        self.classifier = nn.Sequential(
            nn.Linear(stages[-1][-1], hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        without_in_place(self)
        self._initialise()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean(dim=(2, 3)))

    def _initialise(self) -> None:
        """As torchvision does."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)


def build(settings: dict[str, Any], spec: ImageSpec) -> VGG:
    return VGG(channels=spec.channels, num_classes=spec.num_classes, image_size=spec.image_size, **settings)
