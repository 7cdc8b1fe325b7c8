"""ResNet for small images (He et al., CVPR 2016).

With width 64 and blocks [2, 2, 2, 2] it computes what torchvision's ResNet-18 computes with a 3x3 stem and no pooling,
and its state dict has the same keys. It is written out because torchvision's cannot be made narrower, and adds its
residuals in place, which per-sample gradients (Opacus) do not allow.
"""

import torch
from torch import nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)); [B, C, H, W] -> [B, C', H / stride, W / stride]."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + shortcut)


class ResNet(nn.Module):
    """Normalised images [B, C, H, W] -> logits [B, K]. Stage i: ``width * 2**i`` channels, ``blocks[i]`` blocks."""

    def __init__(self, *, channels: int, num_classes: int, width: int, blocks: list[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.num_stages = len(blocks)
        now = width
        for stage, count in enumerate(blocks):
            out = width * 2**stage
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            layer = [BasicBlock(now if i == 0 else out, out, stride=stride) for i, stride in enumerate(strides)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layer))
            now = out
        self.fc = nn.Linear(now, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        for stage in range(self.num_stages):
            h = self.get_submodule(f"layer{stage + 1}")(h)
        return self.fc(h.mean(dim=(2, 3)))
