"""The published files: how they name a ResNet's weights, and which permutations of the training sets they belong to.

Checkpoints are translated when they are read, so the authors' files and this project's fit in the same place. Nothing
here opens a file: mappings and arrays in, mappings and bytes out.
"""

import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common import storage
from common.errors import UserError

Weights = Mapping[str, Any]
"""A state dict: name -> tensor"""


@dataclass(frozen=True)
class PublishedPartition:
    permutation_sha256: str  # of the pickle
    members: int  # the first so many of the permutation


PARTITIONS = {
    "cifar10": PublishedPartition("7e72e8532d34c17d04cd8d4d603caedc3cd2118c9643849cad4463e3f046cf17", 25_000),
    "cifar100": PublishedPartition("3b917503c3880bf9bc64f939aba152ca9ad47687c138454d1608100f2549d174", 25_000),
    "svhn": PublishedPartition("ffa8cfc9b6f23d49d8e840d398d92c2d5d6eec7b52f4c6eb8eb04732ab58b06e", 5_000),
}

_OWN = {"conv1.0": "conv1", "conv1.1": "bn1", "fc": "fc"}  # published module -> ours
_OWN_IN_BLOCK = {
    "residual_function.0": "conv1",
    "residual_function.1": "bn1",
    "residual_function.3": "conv2",
    "residual_function.4": "bn2",
    "shortcut.0": "downsample.0",
    "shortcut.1": "downsample.1",
}
_PUBLISHED = {own: published for published, own in _OWN.items()}
_PUBLISHED_IN_BLOCK = {own: published for published, own in _OWN_IN_BLOCK.items()}


def own_form(weights: Weights, *, source: str) -> dict[str, Any]:
    """A classifier's weights under this project's names, from the published form or from our own.

    A `module.` prefix, which data-parallel trainers leave, is taken off. Raises UserError naming ``source`` and the key
    where a file in the published form has one that its ResNet has not.
    """
    plain = without_prefix(weights, source=source)
    return _renamed(plain, _own_module, source=source) if is_published(plain) else plain


def published_form(weights: Weights, *, source: str) -> dict[str, Any]:
    """The inverse of ``own_form``, for a ResNet of basic blocks; UserError naming the key for any other network."""
    return _renamed(own_form(weights, source=source), _published_module, source=source)


def is_published(weights: Weights) -> bool:
    """Whether the names are those of the published ResNet: `conv1.0.weight`, `conv2_x.0.residual_function.0.weight`."""
    return any(re.match(r"(module\.)?conv\d+(\.[01]|_x)\.", key) for key in weights)


def has_group_norm(weights: Weights) -> bool:
    """Whether normalisation keeps no running statistics, as in networks trained with DP-SGD."""
    return not any(key.endswith("running_mean") for key in weights)


def without_prefix(weights: Weights, *, source: str) -> dict[str, Any]:
    """The weights without the `module.` that every name, or none, begins with."""
    if not all(isinstance(key, str) for key in weights):
        raise UserError(f"{source}: its weights have names that are not text")
    prefix = "module." if all(key.startswith("module.") for key in weights) else ""
    return {key.removeprefix(prefix): value for key, value in weights.items()}


def _renamed(weights: Weights, rename: Any, *, source: str) -> dict[str, Any]:
    result = {}
    for key, value in weights.items():
        module, _, parameter = key.rpartition(".")
        new = rename(module)
        if new is None:
            raise UserError(f"{source}: {key} is no weight of the published ResNet of basic blocks")
        result[f"{new}.{parameter}"] = value
    return result


def _own_module(name: str) -> str | None:
    block = re.fullmatch(r"conv([2-9])_x\.(\d+)\.(.+)", name)
    if block is None:
        return _OWN.get(name)
    stage, index, inner = int(block[1]) - 1, block[2], _OWN_IN_BLOCK.get(block[3])
    return inner and f"layer{stage}.{index}.{inner}"


def _published_module(name: str) -> str | None:
    block = re.fullmatch(r"layer([1-8])\.(\d+)\.(.+)", name)
    if block is None:
        return _PUBLISHED.get(name)
    stage, index, inner = int(block[1]) + 1, block[2], _PUBLISHED_IN_BLOCK.get(block[3])
    return inner and f"conv{stage}_x.{index}.{inner}"


def is_published_permutation(order: np.ndarray, *, dataset: str, sha256: str | None) -> bool | None:
    """Whether a permutation int64 [n] is the published one; None where none is published for the dataset.

    sha256: of the file it was read from, where there was one

    True is certain: the file is the published one, or the array written as it writes them gives that file. False says
    that it was not recognised: an old pickle of the same array may be encoded in another way.
    """
    if dataset not in PARTITIONS:
        return None
    known = PARTITIONS[dataset].permutation_sha256
    return known in (sha256, storage.bytes_sha256(permutation_pickle(order)))


def permutation_pickle(order: np.ndarray) -> bytes:
    """A permutation [n] as the published files hold it: one int64 array, protocol 4, under numpy 1's module names."""
    data = pickle.dumps(np.ascontiguousarray(order, dtype="<i8"), protocol=4)
    now, then = (b"\x8c" + bytes([len(name)]) + name for name in (b"numpy._core.multiarray", b"numpy.core.multiarray"))
    if now not in data:
        return data
    # the name stands in the first frame, whose length is bytes 3 to 10
    (length,) = struct.unpack("<Q", data[3:11])
    return data[:3] + struct.pack("<Q", length + len(then) - len(now)) + data[11:].replace(now, then, 1)
