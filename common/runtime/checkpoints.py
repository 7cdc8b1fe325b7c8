"""Checkpoints: tensors and plain values, read without running anything in them, and checked against their checksum."""

import hashlib
import io
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.runtime import storage, tensors
from common.runtime.errors import UserError
from common.runtime.storage import CHECKSUM


class Damaged(UserError):
    """The content of a checkpoint is not what was written: its checksum does not fit."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file held when it was read.

    content:  without the checksum
    sha256:   of the bytes that were read
    checked:  the content fits its checksum; False where the file has none
    """

    content: dict[str, Any]
    sha256: str
    checked: bool


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint whose bytes depend on the values alone (see ``plain``), as ``storage.write_bytes`` does."""
    storage.write_bytes(path, to_bytes(content))


def to_bytes(content: Mapping[str, Any]) -> bytes:
    """What ``save`` writes: the content with its checksum."""
    ready = plain(content)
    buffer = io.BytesIO()  # torch.save to a path would write the file's own name into the archive
    torch.save({**ready, CHECKSUM: checksum(ready)}, buffer)
    return buffer.getvalue()


def plain(value: Any) -> Any:
    """A copy of tensors (to the CPU) and plain values in which no two places share an object.

    Pickle writes down which objects are shared, and a resumed run shares fewer: without this its bytes would differ.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True).contiguous()
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [plain(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, np.generic):
        return value.item()
    return sys.intern(value) if isinstance(value, str) else value


def checksum(content: Any) -> str:
    """A sha256 over tensors and plain values, their types, their order and their nesting."""
    digest = hashlib.sha256()
    _feed(digest, content)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)}:".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, (dict, list, tuple)):
        digest.update(f"{type(value).__name__} {len(value)}:".encode())
        for item in value.items() if isinstance(value, dict) else value:
            _feed(digest, item)
    else:
        said = repr(value).encode(errors="surrogatepass")
        digest.update(f"{type(value).__name__} {len(said)}:".encode() + said)


# Trainers of the published kind store numpy scalars (best_acc) beside the weights: these are allowed, by name.
_scalar = np.float64(0).__reduce__()[0]
_NUMPY_SCALARS: list[Any] = [np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType]
_NUMPY_SCALARS += [(_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]


def read(path: Path, *, expect: Mapping[str, type]) -> Checkpoint:
    """Read a checkpoint's tensors and plain values; nothing stored in the file is ever run.

    Raises UserError naming the file where it is truncated, holds anything but plain data or a tensor that is larger
    than what is stored of it, or lacks a key of ``expect`` (key -> type); Damaged where its content does not fit its
    checksum.
    """
    try:
        data = path.read_bytes()
        with warnings.catch_warnings(), torch.serialization.safe_globals(_NUMPY_SCALARS):
            warnings.simplefilter("ignore")  # of what a damaged file looks like to torch
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file provokes
        refused = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it refers to {refused[1]}" if refused else f"{type(error).__name__} while reading"
        raise UserError(
            f"{path}: not a readable checkpoint (missing, truncated, or it holds more than tensors and plain values): "
            f"{reason}"
        ) from error
    if _is_expanded(content):
        raise UserError(f"{path}: it holds a tensor of more values than are stored: save it with .contiguous()")
    wanted = ", ".join(f"{key} ({kind.__name__})" for key, kind in expect.items())
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a dict with {wanted or 'text keys'}, found {type(content).__name__}")
    checked = CHECKSUM in content
    said = content.pop(CHECKSUM, None)
    if checked and not _fits(content, said):
        raise Damaged(f"{path} is damaged: its checksum does not fit what it holds")
    wrong = [key for key, kind in expect.items() if not isinstance(content.get(key), kind)]
    if wrong:
        raise UserError(f"{path}: expected a dict with {wanted}; missing or of another type: {', '.join(wrong)}")
    return Checkpoint(content, storage.bytes_sha256(data), checked)


def _is_expanded(content: Any) -> bool:
    """Whether a tensor in it stands for more memory than the file has: a few bytes could ask for any amount."""
    left, seen = [content], set()
    while left:
        value = left.pop()
        if isinstance(value, torch.Tensor):
            strided = value.layout == torch.strided and not (value.is_meta or value.is_nested)
            if strided and value.untyped_storage().nbytes() < value.numel() * value.itemsize:
                return True
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            left += value.values() if isinstance(value, dict) else value
    return False


def _fits(content: dict[str, Any], said: Any) -> bool:
    try:
        return bool(checksum(content) == said)
    except Exception:  # tensors of a kind that this project never writes
        return False


def load_weights(module: torch.nn.Module, weights: Mapping[str, Any], *, path: Path) -> None:
    """Load a state dict into a module, whose weights may be of device "meta" to see whether it fits.

    Raises UserError naming the file and the first keys, kinds or shapes that differ, or values that are not finite.
    """
    own = module.state_dict()
    counters = {key: value for key, value in own.items() if key.endswith(".num_batches_tracked")}
    weights = {**counters, **weights}  # older files do not count batches, and no answer depends on how many there were
    kinds = [
        [f"missing {key}" for key in own if key not in weights],
        [f"unexpected {key}" for key in weights if key not in own],
        [f"{key} is {found}" for key in own if key in weights and (found := _unfit(weights[key], own[key]))],
    ]
    count = sum(map(len, kinds))
    if count:
        shown = [problem for kind in kinds for problem in kind[: 4 if count <= 4 else 2]]
        more = f" and {count - len(shown)} more" if count > len(shown) else ""
        raise UserError(f"{path}: the weights do not fit {type(module).__name__}: {'; '.join(shown)}{more}")
    require_finite({key: value for key, value in weights.items() if not value.is_meta}, path=path)
    if not any(value.is_meta for value in own.values()):
        module.load_state_dict(dict(weights))


def _unfit(found: Any, own: torch.Tensor) -> str | None:
    """What a value is that cannot be taken for a weight: another shape, or a kind that the network does not have."""
    if not isinstance(found, torch.Tensor):
        return f"{type(found).__name__}, expected a tensor"
    if found.is_nested:
        return "nested"
    if found.shape != own.shape:
        return f"{tuple(found.shape)}, expected {tuple(own.shape)}"
    if found.is_quantized or found.layout != torch.strided or (found.is_meta and not own.is_meta):
        return f"{'quantised' if found.is_quantized else 'without values' if found.is_meta else found.layout}"
    fits = found.dtype in tensors.FLOATS if own.is_floating_point() else found.dtype == own.dtype
    return None if fits else f"{found.dtype}, expected {own.dtype}"


def require_finite(weights: Mapping[str, torch.Tensor], *, path: Path) -> None:
    """Raise UserError naming the file and the first tensors that hold a NaN or an infinity."""
    bad = not_finite(weights)
    if bad:
        raise UserError(f"{path}: weights that are not finite: {', '.join(bad[:4])}")


def not_finite(content: Any, name: str = "") -> list[str]:
    """Names of the tensors in nested mappings that hold a NaN or an infinity, or hold no values that can be seen."""
    if isinstance(content, Mapping):
        return [
            bad for key, value in content.items() for bad in not_finite(value, f"{name}.{key}" if name else str(key))
        ]
    if not isinstance(content, torch.Tensor):
        return []
    return [] if tensors.is_dense(content) and torch.isfinite(content).all() else [name]
