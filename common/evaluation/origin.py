"""What a report says of where it comes from."""

from common.runtime import invocation
from common.runtime.config import Record
from common.runtime.device import Compute


class PermutationRecord(Record):
    """Where the order that decides who is a member comes from, and whether it is the published one."""

    source: str
    sha256: str | None
    published: bool | None
    trained_with_it: bool | None  # whether the classifier's own file says so


class Made(Record):
    """How a report came about; nothing that is measured depends on it."""

    command: str
    date: str  # UTC
    device: str
    precision: str  # of the diffusion model's products
    compile: bool
    commit: str | None  # of this code; None where git knows none


def made(compute: Compute) -> Made:
    """How what is made now comes about, its networks computed so."""
    return Made(
        command=invocation.command(),
        date=invocation.date(),
        device=str(compute.device),
        precision=compute.precision,
        compile=compute.compile,
        commit=invocation.commit(),
    )
