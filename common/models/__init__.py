"""Networks: classifiers by name, with the fitting to small images, and the UNet. Weights and shapes; no training here.

The registry: a classifier family is one file here, one line below and one entry of configs/classifier.yaml. Other
classifiers, the user's own and those of libraries, need none of that: see own.py.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common.runtime.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from common.runtime.images import ImageSpec

# (entry of configs/classifier.yaml as keyword arguments, dataset) -> network, by value of --model
MODELS: "Registry[Callable[[dict[str, Any], ImageSpec], nn.Module]]" = Registry(
    resnet="common.models.resnet:basic",
    resnet50="common.models.resnet:bottleneck",
    densenet121="common.models.densenet:build",
    vgg16_bn="common.models.vgg:build",
    vit="common.models.vit:build",
)

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_OWN = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}")


def is_own(model: str) -> bool:
    """Whether a value of --model names a function: `package.module:function`, `torchvision:NAME`, `timm:NAME`."""
    return len(model) <= 200 and _OWN.fullmatch(model) is not None
