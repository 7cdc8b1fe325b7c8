"""Classifiers: images in [0, 1] in, logits out; normalisation is the first layer."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from common import rng
from common.config import ClassifierConfig
from common.datasets import DatasetSpec
from common.device import accelerate, autocast
from common.models.densenet import DenseNet
from common.models.resnet import Bottleneck, ResNet
from common.models.vgg import VGG
from common.models.vit import VisionTransformer

# (entry of configs/classifier.yaml as keyword arguments, dataset) -> network, by value of --model
NETWORKS: dict[str, Callable[[dict[str, Any], DatasetSpec], nn.Module]] = {
    "resnet": lambda settings, spec: ResNet(**_ends(spec), **settings),
    "resnet50": lambda settings, spec: ResNet(**_ends(spec), **settings, block=Bottleneck),
    "densenet121": lambda settings, spec: DenseNet(**_ends(spec), **settings, image_size=spec.image_size),
    "vgg16_bn": lambda settings, spec: VGG(**_ends(spec), **settings, image_size=spec.image_size),
    "vit": lambda settings, spec: VisionTransformer(**_ends(spec), **settings, image_size=spec.image_size),
}
MODELS = tuple(NETWORKS)


class Classifier(nn.Module):
    """A network behind its normalisation: [B, C, H, W] in [0, 1] -> logits [B, K].

    The statistics belong to the dataset, not to the weights: checkpoints hold the state dict of ``network`` alone.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, network: nn.Module, *, mean: tuple[float, ...], std: tuple[float, ...], precision: str = "fp32"
    ) -> None:
        super().__init__()
        self.network = network
        self.precision = precision
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with autocast(x.device, self.precision):
            return self.network((x - self.mean) / self.std).to(x.dtype)


def build_classifier(
    model: str,
    config: ClassifierConfig,
    spec: DatasetSpec,
    *,
    seed: int,
    group_norm: bool = False,
    precision: str = "fp32",
    compile: bool = False,
) -> Classifier:
    """A classifier with initial weights drawn from the seed, with BatchNorm or GroupNorm.

    Raises UserError where the configured network is too deep for the dataset's images.
    """
    with rng.global_draws(seed, "classifier", model):
        network = NETWORKS[model](getattr(config, model).model_dump(), spec)
    if group_norm:
        replace_batch_norm(network)
    return Classifier(accelerate(network, compile=compile), mean=spec.mean, std=spec.std, precision=precision)


def _ends(spec: DatasetSpec) -> dict[str, Any]:
    """What goes in and what comes out."""
    return {"channels": spec.channels, "num_classes": spec.num_classes}


def replace_batch_norm(network: nn.Module) -> None:
    """Put GroupNorm of gcd(32, C) groups in the place of each BatchNorm, as Opacus does: it does not mix samples.

    For the widths of the published checkpoints, powers of two, these are the min(32, C) groups that they have.
    """
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(math.gcd(32, child.num_features), child.num_features))
