"""How the published files name a ResNet's weights.

Checkpoints are translated when they are read, so the authors' files and this project's fit in the same place. Nothing
here opens a file: mappings in, mappings out.
"""

import re
from collections.abc import Mapping
from typing import Any

from common.runtime.errors import UserError

Weights = Mapping[str, Any]
"""A state dict: name -> tensor"""


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

    The prefixes that wrapped modules leave are taken off. Raises UserError naming ``source`` and the key
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


WRAPPERS = ("module.", "_module.", "_orig_mod.")  # of data-parallel and averaged, of Opacus's, of compiled modules
AVERAGED = "n_averaged"  # how many models an averaged one is the mean of; it stands beside what is averaged


def without_prefix(weights: Weights, *, source: str) -> dict[str, Any]:
    """The weights without the prefixes of wrapped modules, nested in any order, that all names or none begin with."""
    if not all(isinstance(key, str) for key in weights):
        raise UserError(f"{source}: its weights have names that are not text")
    plain = dict(weights)
    while plain:
        averaged = {key: value for key, value in plain.items() if key != AVERAGED}
        prefix = next((prefix for prefix in WRAPPERS if all(key.startswith(prefix) for key in averaged)), None)
        if prefix is None or not averaged:
            break
        plain = {key.removeprefix(prefix): value for key, value in averaged.items()}
    return plain


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
