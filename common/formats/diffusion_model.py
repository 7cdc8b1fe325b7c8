"""What reading a diffusion model gives, whatever its format, and how each format gets there."""

from typing import Any, NamedTuple

import torch
from torch import nn

from common.diffusion.denoiser import Denoiser
from common.runtime.device import Compute, accelerate
from common.runtime.storage import FileRead
from common.training.provenance import Provenance


class DiffusionModel(NamedTuple):
    """files:      what it was read from, as it was read
    made_from:  what it says that it was made from; None where it says nothing
    """

    denoiser: Denoiser
    files: list[FileRead]
    made_from: Provenance | None = None

    @property
    def hashes(self) -> list[str]:
        """The sha256 of each file."""
        return [file.sha256 for file in self.files]


def ready(predictor: nn.Module, alpha_bar: torch.Tensor, *, compute: Compute, **shapes_and_steps: Any) -> Denoiser:
    """A denoiser that answers and does not train, on its device; ``shapes_and_steps`` are ``Denoiser``'s."""
    fast = accelerate(predictor.to(compute.device), compile=compute.compile)
    denoiser = Denoiser(fast, alpha_bar, precision=compute.precision, **shapes_and_steps)
    return denoiser.eval().requires_grad_(False)
