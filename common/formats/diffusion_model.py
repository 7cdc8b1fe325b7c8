"""What reading a diffusion model gives, whatever its format, and how each format gets there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from common.diffusion.denoiser import Denoiser
from common.runtime import checkpoints
from common.runtime.device import Compute, accelerate
from common.runtime.errors import UserError
from common.runtime.storage import FileRead
from common.training.jobs import Provenance


class DiffusionModel(NamedTuple):
    """files:      what it was read from, as it was read
    made_from:  what it says that it was made from; None where it says nothing
    """

    denoiser: Denoiser
    files: list[FileRead]
    made_from: Provenance | None = None


def with_weights(make: Callable[[], nn.Module], weights: dict[str, Any], *, path: Path, described: Path) -> nn.Module:
    """The network that ``make`` makes, with the weights of ``path``.

    Raises UserError naming both files, before memory is asked for, where it is not the one that ``described`` says.
    """
    try:
        with torch.device("meta"):
            checkpoints.load_weights(make(), weights, path=path)
        network = make()
        checkpoints.load_weights(network, weights, path=path)
    except UserError as error:
        raise UserError(f"{error}; the UNet is the one that {described} describes") from None
    return network


def ready(predictor: nn.Module, alpha_bar: torch.Tensor, *, compute: Compute, **shapes_and_steps: Any) -> Denoiser:
    """A denoiser that answers and does not train, on its device; ``shapes_and_steps`` are ``Denoiser``'s."""
    fast = accelerate(predictor.to(compute.device), compile=compute.compile)
    denoiser = Denoiser(fast, alpha_bar, precision=compute.precision, **shapes_and_steps)
    return denoiser.eval().requires_grad_(False)
