"""The one place that knows about devices: which there are, how fast a network runs on one, how much it takes."""

import ctypes
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, get_args

import torch
from torch import nn

from common.runtime import distributed
from common.runtime.errors import UserError
from common.runtime.modes import Device, Precision

PASS_PIXELS = 16 * 32 * 32  # enough for a CPU's full rate, and few idle where few images are asked about
SMALLEST_PIXELS = 8 * 8  # smaller images are not given larger passes
BYTES_PER_PIXEL = 64 * 1024  # of GPU memory that a pass of the 35.9 M parameter UNet is assumed to take
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def resolve(name: str) -> torch.device:
    """The device of that name; "auto" takes the best one. A device that is not there is an error, never the CPU."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if name not in available:
        raise UserError(f"unknown device {name!r}: choose from {', '.join(get_args(Device))}")
    if not available[name]:
        raise UserError(f"--device {name}: this machine has no usable {name} device; use --device auto or cpu")
    if name != "cuda":
        return torch.device(name)
    number, there = distributed.local_rank(), torch.cuda.device_count()
    if number >= there:
        raise UserError(f"process {number + 1} of this machine has no GPU, there are {there}: use fewer (--nproc)")
    return torch.device(name, number)


Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Compute:
    """How a network is computed.

    precision:  of its products, fp32 or bf16
    compile:    whether torch compiles it
    """

    device: torch.device
    precision: Precision = "fp32"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise UserError(f"precision must be one of {', '.join(get_args(Precision))}, not {self.precision!r}")

    def __str__(self) -> str:
        return f"{self.precision}, compiled" if self.compile else self.precision


class PassSize(NamedTuple):
    """How many images a network gets at once: a multiple of ``least``, ``most`` at the most.

    A network's bits depend on how many images it gets, but not on what the others are, if the sizes of its layers are
    multiples of 16, as usual (vector registers; else on its place too, by rounding). So where both numbers are the
    same, every image has the same bits in any company.

    ahead:  a waiting image is given as many places as it has been refused already, so that few passes are made of what
            nobody needs (about a tenth where half are accepted, at most as many again) and few are needed
    """

    least: int
    most: int
    ahead: bool = False

    def room(self, refused: Sequence[int]) -> int:
        """Images in the next pass: so many are waiting, each of which has been refused so often."""
        wanted = sum(max(1, count) for count in refused) if self.ahead else len(refused)
        return min(self.most, -(-wanted // self.least) * self.least)

    def padded(self, count: int) -> torch.Tensor:
        """Row numbers 0 … count - 1, and the last one again until a pass is full: int64."""
        return torch.arange(-(-count // self.least) * self.least).clamp(max=count - 1)

    def passes(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images [n, ...] in full passes, the last one filled up."""
        return [part[self.padded(len(part))] for part in images.split(self.most)]


def pass_size(device: torch.device, *, pixels: int) -> PassSize:
    """For images of so many pixels: the same on every CPU; on a GPU at most what half of its free memory holds."""
    least = max(1, PASS_PIXELS // max(pixels, SMALLEST_PIXELS))
    if device.type != "cuda":
        return PassSize(least, least)
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # kept for the next pass
    return PassSize(least, max(least, min(1024, free // 2 // (pixels * BYTES_PER_PIXEL)) // least * least))


def query_size(device: torch.device, *, pixels: int) -> PassSize:
    """As ``pass_size``, where the answer is waited for: on a CPU no pass is filled up, since each image takes time."""
    size = pass_size(device, pixels=pixels)
    return PassSize(1, size.most, ahead=True) if device.type == "cpu" else size


def move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device; from the CPU to a GPU by pinned memory, so that nobody need wait."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def cores() -> int:
    """How many cores this process may use at once: less than the machine has, under an affinity or a cgroup's limit."""
    import joblib  # type: ignore[import-untyped]  # of scikit-learn: it knows affinities and cgroups

    return int(joblib.cpu_count())


def limit_threads() -> None:
    """Let torch use no more threads than there are cores for this process; OMP_NUM_THREADS says otherwise.

    Torch counts the machine's cores, and threads that share a core wait for each other.
    """
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > cores():
        torch.set_num_threads(cores())


def keep_freed_memory() -> None:
    """Let glibc keep what this process frees, up to 2 GiB, for what comes next.

    As it starts, glibc gives much of it back to the system, more or less by chance, and each 4 KiB used again is a
    page fault: about a tenth of a training step on a CPU. Other C libraries stay as they are.
    """
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
        greatest = {M_MMAP_THRESHOLD: 32 * 2**20, M_TRIM_THRESHOLD: 2**31 - 1}  # that it takes
        for setting, size in greatest.items():
            ctypes.CDLL(None).mallopt(setting, size)


def accelerate(network: Network, *, compile: bool = False) -> Network:
    """The network itself, its weights laid out channels-last (which its activations then follow), compiled if asked."""
    network.to(memory_format=torch.channels_last)
    if compile:
        network.compile()
    return network


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Within the block, matrix products and convolutions are in bfloat16 where ``precision`` says bf16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
