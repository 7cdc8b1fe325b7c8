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
    """Raise UserError where Opacus finds no gradients of single samples; images [n, C, H, W] in [0, 1], labels [n]."""
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
    except (RuntimeError, NotImplementedError, AttributeError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:400]
        raise UserError(f"--defense dpsgd: Opacus cannot clip this classifier's gradients by sample: {said}") from error
