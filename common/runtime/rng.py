"""Random generators derived from what they are for, so that no draw depends on any other.

Nothing in this project reads a global generator. A draw is named by parts, such as (seed, "diffence", sample, j);
equal names give equal draws, whatever the batch, the order, the number of processes or an interruption.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

Part = int | str | bytes


def derive_seed(*parts: Part) -> int:
    """A seed in [0, 2^63) that depends on every part, its type and its position."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(f"{type(part).__name__}:{len(data)}:".encode() + data)
    return int.from_bytes(digest.digest(), "little") >> 1


def torch_generator(*parts: Part) -> torch.Generator:
    """A generator on the CPU; draws are moved to the device afterwards, so every device sees the same numbers."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def numpy_generator(*parts: Part) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=derive_seed(*parts)))


@contextmanager
def global_draws(*parts: Part) -> Iterator[None]:
    """Within the block, code that knows only the global generator (dropout, layer initialisers) draws by name too."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(*parts))
        yield


@contextmanager
def numpy_global_draws(*parts: Part) -> Iterator[None]:
    """The same for code that knows only numpy's global generator."""
    before = np.random.get_state()
    np.random.seed(derive_seed(*parts) % 2**32)
    try:
        yield
    finally:
        np.random.set_state(before)


def sample_key(image: torch.Tensor) -> bytes:
    """The identity of a sample: a digest of its pixels rounded to 8 bits; [C, H, W] in [0, 1].

    Identity by content makes a deployed fence answer a repeated query with the same answer, so averaging over
    repetitions gives an attacker nothing, and it makes an evaluation and a deployment the same computation.
    """
    pixels = (image.detach().float() * 255).round().to("cpu", torch.uint8).contiguous().numpy()
    return hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
