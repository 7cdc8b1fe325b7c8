"""Classifiers that this project does not know by name: a function of the user's, torchvision's networks, timm's."""

import ast
import importlib
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

from common.models.small_images import without_in_place
from common.runtime import rng, storage, tensors
from common.runtime.errors import UserError
from common.runtime.images import ImageSpec, sides

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # in what Python prints of a function: another one in each run


def build(model: str, spec: ImageSpec) -> nn.Module:
    """The network of `package.module:function`, `torchvision:NAME` or `timm:NAME`, with weights of its own drawing.

    The function is called with ``num_classes`` and ``image_shape``, (C, H, W), and gives a module that takes
    normalised images [B, C, H, W] and answers logits [B, K]. Weights are never downloaded.

    Raises UserError where there is none such, or it answers anything else.
    """
    source, _, name = model.partition(":")
    builder = {"torchvision": _of_torchvision, "timm": _of_timm}.get(source, _of_function)
    with _naming(model, spec):
        network = builder(source, name, spec)
        if not isinstance(network, nn.Module):
            raise UserError(f"--model {model}: gave a {type(network).__name__}, expected a torch.nn.Module")
        with torch.no_grad():
            answer = network.eval()(_images(spec))
        network.train()
    _require_logits(answer, spec, model=model)
    return network


@cache
def architecture(model: str, spec: ImageSpec) -> str:
    """Names a network but for its weights: a digest of its modules, of their own code, and of its weights' shapes.

    Code is that of modules which are no library's, without its comments. Raises UserError as ``build`` does, and where
    the network cannot be trained.
    """
    with rng.global_draws(0, "classifier", model):
        network = build(model, spec)
        weights = {name: [str(value.dtype), list(value.shape)] for name, value in network.state_dict().items()}
        kinds = {type(module) for module in network.modules()}
        code = {f"{kind.__module__}.{kind.__qualname__}": _code(kind) for kind in kinds if not _of_library(kind)}
        named = storage.digest({"modules": ADDRESS.sub("", str(network)), "weights": weights, "code": code})
        with _naming(model, spec):
            network(_images(spec)).sum().backward()
    return named


@contextmanager
def _naming(model: str, spec: ImageSpec) -> Iterator[None]:
    """Names the model in whatever error somebody else's code provokes."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(f"--model {model}: for images {_shape(spec)}: {type(error).__name__}: {said}") from error


def _images(spec: ImageSpec) -> torch.Tensor:
    return torch.randn(2, *_shape(spec))


def _of_library(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("torch", "torchvision", "timm")


def _code(kind: type) -> str:
    try:
        return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(kind))))
    except (OSError, TypeError, SyntaxError):  # made where there is no file
        return ""


def _shape(spec: ImageSpec) -> tuple[int, int, int]:
    return (spec.channels, *sides(spec.image_size))


def function(module: str, name: str) -> Callable[..., Any]:
    """A function of the user's, searched on sys.path and then in the current folder. Raises UserError naming it."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that nothing there takes the place of a library
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # what the module itself imports
        raise UserError(
            f"--model {module}:{name}: no module {error.name} on PYTHONPATH, beside the dataset folders, or in "
            f"{os.getcwd()}"
        ) from error
    given = getattr(found, name, None)
    if not callable(given):
        raise UserError(f"--model {module}:{name}: {found.__file__} has no function {name}")
    return given


def _of_function(module: str, name: str, spec: ImageSpec) -> nn.Module:
    network: nn.Module = function(module, name)(num_classes=spec.num_classes, image_shape=_shape(spec))
    return network


def _of_torchvision(_: str, name: str, spec: ImageSpec) -> nn.Module:
    from torchvision import models

    _require_among(models.list_models(module=models), "torchvision", name)
    options: dict[str, Any] = {"image_size": spec.image_size} if name.startswith("vit_") else {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}
    network = models.get_model(name, weights=None, num_classes=spec.num_classes, **options)
    _set_channels(network, spec.channels)
    without_in_place(network)
    return network


def _of_timm(_: str, name: str, spec: ImageSpec) -> nn.Module:
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise UserError(
            f"--model timm:{name} needs the timm package: `pip install -r requirements-timm.txt`"
        ) from error
    _require_among(timm.list_models(), "timm", name)
    options = {"pretrained": False, "num_classes": spec.num_classes, "in_chans": spec.channels}
    try:
        network = timm.create_model(name, img_size=spec.image_size, **options)
    except TypeError:  # it takes images of any size
        network = timm.create_model(name, **options)
    without_in_place(network)
    return network


def _require_among(names: list[str], package: str, name: str) -> None:
    if name not in names:
        alike = [each for each in names if name.rstrip("0123456789_") in each][:8]
        said = f"such as {', '.join(alike or names[:8])}"
        raise UserError(f"--model {package}:{name}: {package} has no such classifier; it has {len(names)}, {said}")


def _set_channels(network: nn.Module, channels: int) -> None:
    """Let the first convolution take images of so many channels."""
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            if module.in_channels != channels:
                parent, _, name = path.rpartition(".")
                first = nn.Conv2d(
                    channels,
                    module.out_channels,
                    module.kernel_size,  # type: ignore[arg-type]
                    module.stride,  # type: ignore[arg-type]
                    module.padding,  # type: ignore[arg-type]
                    bias=module.bias is not None,
                )
                setattr(network.get_submodule(parent), name, first)
            return


def _require_logits(answer: Any, spec: ImageSpec, *, model: str) -> None:
    expected = f"expected floating logits [2, {spec.num_classes}] of two images {_shape(spec)}"
    if not isinstance(answer, torch.Tensor):
        raise UserError(f"--model {model}: answered a {type(answer).__name__}, {expected}")
    if tuple(answer.shape) != (2, spec.num_classes) or not answer.is_floating_point():
        raise UserError(f"--model {model}: answered {answer.dtype} {tuple(answer.shape)}, {expected}")
    if not torch.isfinite(answer).all():
        raise UserError(f"--model {model}: answered numbers that are not finite, {expected}")
    if tensors.look_like_probabilities(answer, answer.dtype):
        raise UserError(f"--model {model}: answered probabilities, {expected}: leave the softmax away")
