"""A classifier that a user has: a function that gives it, a TorchScript file, or a program of torch.export (.pt2)."""

import zipfile
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
    user's own code, and so may the network of a TorchScript file, which is run as it is; that of a .pt2 file may not.

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
    if _holds_weights_alone(path):
        raise UserError(
            f"--model {path}: holds tensors by name and no network: give package.module:function, a function that "
            "builds the network and loads them"
        )
    return torch.jit.load(str(path), map_location=device).eval()


def _holds_weights_alone(path: Path) -> bool:
    """Whether a file is what ``torch.save`` writes of a state dict, which is no TorchScript."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return not any(Path(name).name == "constants.pkl" for name in archive.namelist())
