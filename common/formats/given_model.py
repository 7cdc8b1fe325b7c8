"""A classifier that a user has: a function that gives it, a TorchScript file, or a program of torch.export (.pt2)."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from common.formats import exported_program
from common.models import own
from common.runtime.errors import UserError

PROGRAM = ".pt2"


def load(model: str, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """The classifier of ``package.module:function``, which is called without arguments, or of a file.

    It takes images [B, C, H, W] and answers [B, K], on the device. Modules are in evaluation mode. A function runs the
    user's own code; of a file nothing is run but the network.

    Raises UserError naming what could not be loaded.
    """
    try:
        return (
            _of_function(model, device) if ":" in model and not Path(model).exists() else _of_file(Path(model), device)
        )
    except UserError:
        raise
    except Exception as error:  # whatever foreign code or a hostile file provokes
        raise UserError(f"--model {model}: {type(error).__name__}: {error}") from error


def _of_function(model: str, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    module, _, name = model.partition(":")
    classifier = own.function(module, name)()
    if isinstance(classifier, nn.Module):
        return classifier.to(device).eval()
    if not callable(classifier):
        raise UserError(f"--model {model}: gave a {type(classifier).__name__}, expected a classifier of images")
    return classifier


def _of_file(path: Path, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    if not path.is_file():
        raise UserError(f"--model {path} not found: expected package.module:function, or a TorchScript or .pt2 file")
    if path.suffix == PROGRAM:
        return exported_program.load(path).to(device)
    return torch.jit.load(str(path), map_location=device).eval()
