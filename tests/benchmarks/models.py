"""The networks of the paper with drawn weights, and images for them."""

import torch

from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import linear_alpha_bar
from common.models.classifiers import Classifier
from common.models.resnet import ResNet
from common.models.unet import UNet, UNetConfig
from common.runtime import rng
from common.runtime.device import accelerate
from tests.benchmarks import plain

FULL = UNetConfig(ch=128, ch_mult=[1, 2, 2, 2], attn=[1], num_res_blocks=2, dropout=0.1)  # 35.9 M parameters
SMALL = UNetConfig(ch=32, ch_mult=[1, 1], attn=[], num_res_blocks=1, dropout=0.0)
ALPHA_BAR = linear_alpha_bar(T=1000, beta_1=1e-4, beta_T=0.02)


def denoiser(config: UNetConfig = FULL, *, precision: str = "fp32", fast: bool = True) -> Denoiser:
    """As this project computes it, or as the published one is described, in torch's default layout."""
    with rng.global_draws("benchmark"):
        unet = UNet(config, channels=3, num_steps=1000)
        for module in unet.modules():  # the small initial gains would leave all residual branches silent
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_uniform_(module.weight, a=5**0.5)
    unet = accelerate(unet) if fast else plain.as_published(unet)
    return Denoiser(unet, ALPHA_BAR, precision=precision).eval().requires_grad_(False)


def classifier(*, fast: bool = True, precision: str = "fp32") -> Classifier:
    """ResNet-18 for 32x32 images."""
    return _resnet(channels=3, width=64, blocks=[2, 2, 2, 2], fast=fast, precision=precision)


def small_classifier(*, fast: bool = True) -> Classifier:
    """That of digits."""
    return _resnet(channels=1, width=32, blocks=[2, 2, 2], fast=fast, precision="fp32")


def _resnet(*, channels: int, width: int, blocks: list[int], fast: bool, precision: str) -> Classifier:
    with rng.global_draws("benchmark classifier"):
        network = ResNet(channels=channels, num_classes=10, width=width, blocks=blocks)
    network = accelerate(network) if fast else network
    mean, std = (0.5,) * channels, (0.25,) * channels
    return Classifier(network, num_classes=10, mean=mean, std=std, precision=precision).eval()


def images(count: int) -> torch.Tensor:
    """[count, 3, 32, 32] in [0, 1], of 8 bits as real ones."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, 32, 32), generator=generator).float() / 255
