"""Classifiers: images in [0, 1] in, logits out; normalisation is the first layer."""

import math

import torch
from torch import nn

from common.models import MODELS, own
from common.models.config import ClassifierConfig
from common.runtime import rng
from common.runtime.device import Compute, accelerate, autocast
from common.runtime.images import ImageSpec
from common.runtime.modes import Precision

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Classifier(nn.Module):
    """A network behind its normalisation: [B, C, H, W] in [0, 1] -> logits [B, K].

    The statistics belong to the dataset, not to the weights: checkpoints hold the state dict of ``network`` alone.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        num_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        precision: Precision = "fp32",
    ) -> None:
        super().__init__()
        self.network, self.num_classes = network, num_classes
        self.precision = precision
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with autocast(x.device, self.precision):
            return self.network((x - self.mean) / self.std).to(x.dtype)


def build_classifier(
    model: str,
    config: ClassifierConfig,
    spec: ImageSpec,
    *,
    seed: int,
    group_norm: bool = False,
    compute: Compute | None = None,
) -> Classifier:
    """A classifier with initial weights drawn from the seed, with BatchNorm or GroupNorm, on the device of ``compute``.

    Without ``compute`` it is on the CPU, in fp32. Raises UserError where the network is too deep for the images, or
    there is none such (see own.py).
    """
    compute = compute or Compute(torch.device("cpu"))
    with rng.global_draws(seed, "classifier", model):
        if model in MODELS:
            network = MODELS[model](getattr(config, model).model_dump(), spec)
        else:
            network = own.build(model, spec)
    if group_norm:
        replace_batch_norm(network)
    fast = accelerate(network, compile=compute.compile)
    made = Classifier(fast, num_classes=spec.num_classes, mean=spec.mean, std=spec.std, precision=compute.precision)
    return made.to(compute.device)


def replace_batch_norm(network: nn.Module) -> None:
    """Put GroupNorm of gcd(32, C) groups in the place of each BatchNorm, as Opacus does: it does not mix samples.

    For the widths of the published checkpoints, powers of two, these are the min(32, C) groups that they have.
    """
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, BATCH_NORMS) and type(child) in BATCH_NORMS:  # not one with an activation in it
                channels = child.num_features
                groups = 1 if type(child) is nn.BatchNorm1d else math.gcd(32, channels)  # a pixel alone is no group
                setattr(module, name, nn.GroupNorm(groups, channels, affine=child.affine))
