"""ResNet for small images (He et al., CVPR 2016).

With width 64 it computes what torchvision's computes with a 3x3 stem and no pooling, and its state dict has the same
keys: ResNet-18 of basic blocks [2, 2, 2, 2], ResNet-50 of bottlenecks [3, 4, 6, 3]. It is written out because
torchvision's cannot be made narrower, and adds its residuals in place, which per-sample gradients (Opacus) do not
allow.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from common.runtime.images import ImageSpec


class Block(nn.Module):
    """relu(residual(x) + shortcut(x)); [B, C, H, W] -> [B, expansion * width, H / stride, W / stride]."""

    expansion: int

    def __init__(self, in_channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.add_layers(in_channels, width, stride)
        self.downsample: nn.Module | None = None
        out = self.expansion * width
        if stride != 1 or in_channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
            )

    def add_layers(self, in_channels: int, width: int, stride: int) -> None:
        raise NotImplementedError

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.residual(x) + (x if self.downsample is None else self.downsample(x)))


class BasicBlock(Block):
    """Two 3x3 convolutions."""

    expansion = 1

    def add_layers(self, in_channels: int, width: int, stride: int) -> None:
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))


class Bottleneck(Block):
    """A 3x3 convolution between two of 1x1; like torchvision's, it strides in the middle."""

    expansion = 4

    def add_layers(self, in_channels: int, width: int, stride: int) -> None:
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, self.expansion * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.expansion * width)

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        return self.bn3(self.conv3(F.relu(self.bn2(self.conv2(h)))))


class ResNet(nn.Module):
    """Normalised images [B, C, H, W] -> logits [B, K]. Stage i: ``blocks[i]`` blocks of width ``width * 2**i``."""

    def __init__(
        self, *, channels: int, num_classes: int, width: int, blocks: list[int], block: type[Block] = BasicBlock
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.num_stages = len(blocks)
        now = width
        for stage, count in enumerate(blocks):
            layer = nn.Sequential()
            for index in range(count):
                layer.append(block(now, width * 2**stage, stride=2 if stage > 0 and index == 0 else 1))
                now = block.expansion * width * 2**stage
            self.add_module(f"layer{stage + 1}", layer)
        self.fc = nn.Linear(now, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        for stage in range(self.num_stages):
            h = self.get_submodule(f"layer{stage + 1}")(h)
        return self.fc(h.mean(dim=(2, 3)))


def basic(settings: dict[str, Any], spec: ImageSpec) -> ResNet:
    return ResNet(channels=spec.channels, num_classes=spec.num_classes, **settings)


def bottleneck(settings: dict[str, Any], spec: ImageSpec) -> ResNet:
    return ResNet(channels=spec.channels, num_classes=spec.num_classes, **settings, block=Bottleneck)
