"""Networks under Opacus, which takes the gradient of each sample from hooks of the layers."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from opacus import GradSampleModule
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from common.runtime import rng
from common.runtime.errors import UserError

# images need no gradients, so torch hands Opacus' hooks those of the answers, which are all that they look at
warnings.filterwarnings("ignore", message="Full backward hook is firing when gradients are computed")


class OutOfPlace(TorchFunctionMode):
    """Within the block `x += y` makes a new x, and functions that are told ``inplace=True`` leave theirs as it is.

    Hooks allow no layer's answer to be overwritten. Whoever calls `x.add_(y)` and goes on with x loses y by it, which
    ``require_possible`` finds out.
    """

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if given.get("inplace"):
            given["inplace"] = False
        instead: dict[str, Callable] = {"add_": torch.add, "mul_": torch.mul}  # by these `x += y` and `x *= y` go
        return instead.get(getattr(func, "__name__", ""), func)(*args, **given)


def require_possible(classifier: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Raise UserError where Opacus finds no gradients of single samples, or a sample has a part in those of another.

    Images [n, C, H, W] in [0, 1] and labels [n], on the device of the classifier.
    """
    trial = copy.deepcopy(classifier)
    try:
        with rng.global_draws(0, "trial"), torch.no_grad():
            trial.eval()
            expected = trial(images)
            with OutOfPlace():
                found = trial(images)
        if not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
            raise RuntimeError("it overwrites a layer's answer in place (such as x.add_(y)): write x = x + y instead")
        module = GradSampleModule(trial.train())
        with rng.global_draws(0, "trial"):
            with OutOfPlace():
                logits = module(images)
            F.cross_entropy(logits, labels).backward()
        for name, parameter in trial.named_parameters():
            if parameter.requires_grad and len(getattr(parameter, "grad_sample", ())) != len(images):
                raise RuntimeError(f"{name} has no gradient of each sample")
        module.remove_hooks()
        _require_apart(trial, images)
    except (RuntimeError, NotImplementedError, AttributeError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:400]
        raise UserError(f"--defense dpsgd: Opacus cannot clip this classifier's gradients by sample: {said}") from error


def _require_apart(network: nn.Module, images: torch.Tensor) -> None:
    """Raise RuntimeError where an answer in training depends on another sample's image; images [n, C, H, W] in [0, 1].

    The weights of ``network`` are changed a little: a layer that begins with zeros would hide what is before it.
    """
    with rng.global_draws(0, "trial"), torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.01)

    def answer(asked: torch.Tensor, row: int) -> torch.Tensor:
        with rng.global_draws(0, "trial"), OutOfPlace():
            return network(asked)[row]

    for row, image in enumerate(images):
        asked = images.clone().requires_grad_()
        logits = answer(asked, row)
        (slope,) = torch.autograd.grad(logits.square().sum(), asked)
        slope[row] = 0
        among_copies = answer(image.expand_as(images), row)  # tells mixtures that have no gradient
        if slope.any() or not torch.allclose(logits, among_copies, rtol=1e-4, atol=1e-5):
            raise RuntimeError("it mixes samples in training: an answer depends on other images of its batch")
