"""What reading a diffusion model gives, whatever its format."""

from typing import NamedTuple

from common.diffusion.denoiser import Denoiser
from common.runtime.storage import FileRead
from common.training.jobs import Provenance


class DiffusionModel(NamedTuple):
    """files:      what it was read from, as it was read
    made_from:  what it says that it was made from; None where it says nothing
    """

    denoiser: Denoiser
    files: list[FileRead]
    made_from: Provenance | None = None
