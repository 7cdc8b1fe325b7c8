"""Files that appear whole or not at all, and checkpoints that are read without running anything in them."""

import hashlib
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from common.runtime.errors import UserError

try:
    import fcntl
except ImportError:  # not a Unix system
    fcntl = None  # type: ignore[assignment]


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that at any instant, even under SIGKILL, the path holds the old bytes or the new ones.

    What a killed process left half written has the name that the next writer of the path uses, so nothing piles up. A
    path has one writer at a time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Within the block no other process is in a block of the same path; this one waits for its turn.

    The system lets go of the lock when a process ends, however it ends. Where the file system or the system has no
    locks, a line says so and the block is entered all the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            _lock(file, path)
        except OSError as error:
            print(f"no lock on {path} ({error}): start no second command for the same target", file=sys.stderr)
        yield


def _lock(file: IO[str], path: Path) -> None:
    if fcntl is None:
        raise OSError("this system has none")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting for another process that has {path}", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)


def write_with(path: Path, write: Callable[[io.BytesIO], Any]) -> None:
    """Write what a library's function writes into an open file."""
    buffer = io.BytesIO()
    write(buffer)
    write_bytes(path, buffer.getvalue())


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Strict JSON: a NaN or an infinity is a programming error, not a token other readers choke on."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_array(path: Path, array: np.ndarray) -> None:
    """A .npy file."""
    write_with(path, lambda file: np.save(file, array, allow_pickle=False))


def read_json(path: Path) -> Any:
    """Raises ValueError where the file is not strict JSON in UTF-8."""

    def refuse(token: str) -> None:
        raise ValueError(f"{token} is not JSON")

    try:
        return json.loads(path.read_bytes().decode(), parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A new folder to write into; its files move into ``target`` only if the block succeeds."""
    staging = _temporary(target)
    shutil.rmtree(staging, ignore_errors=True)  # of a killed process
    staging.mkdir(parents=True)
    try:
        yield staging
        target.mkdir(exist_ok=True)
        for file in sorted(staging.iterdir()):
            os.replace(file, target / file.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def digest(content: Any) -> str:
    """A short stable name for JSON-like content, for keys of finished work."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def bytes_sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint whose bytes depend on the values alone (see ``plain``), as ``write_bytes`` does."""
    write_bytes(path, checkpoint_bytes(state))


def checkpoint_bytes(state: Mapping[str, Any]) -> bytes:
    """What ``save_checkpoint`` writes."""
    buffer = io.BytesIO()  # torch.save to a path would write the file's own name into the archive
    torch.save(plain(state), buffer)
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


# Trainers of the published kind store numpy scalars (best_acc) beside the weights: these are allowed, by name.
_scalar = np.float64(0).__reduce__()[0]
_NUMPY_SCALARS: list[Any] = [np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType]
_NUMPY_SCALARS += [(_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]


def load_checkpoint(path: Path, *, expect: Mapping[str, type]) -> dict[str, Any]:
    """Read a checkpoint's tensors and plain values; nothing stored in the file is ever run.

    Raises UserError naming the file where it is truncated, holds anything but plain data, or lacks a key of
    ``expect`` (key -> type).
    """
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file provokes
        refused = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it refers to {refused[1]}" if refused else f"{type(error).__name__} while reading"
        raise UserError(
            f"{path}: not a readable checkpoint (missing, truncated, or it holds more than tensors and plain values): "
            f"{reason}"
        ) from error
    wanted = ", ".join(f"{key} ({kind.__name__})" for key, kind in expect.items())
    if not isinstance(state, dict):
        raise UserError(f"{path}: expected a dict with {wanted}, found {type(state).__name__}")
    wrong = [key for key, kind in expect.items() if not isinstance(state.get(key), kind)]
    if wrong:
        raise UserError(f"{path}: expected a dict with {wanted}; missing or of another type: {', '.join(wrong)}")
    return state


def load_weights(module: torch.nn.Module, weights: Mapping[str, Any], *, path: Path) -> None:
    """Load a state dict into a module, or raise UserError naming the file and the first keys or shapes that differ."""
    own = module.state_dict()
    counters = {key: value for key, value in own.items() if key.endswith(".num_batches_tracked")}
    weights = {**counters, **weights}  # older files do not count batches, and no answer depends on how many there were
    others = []
    for key in own:
        if key in weights:
            found = tuple(weights[key].shape) if isinstance(weights[key], torch.Tensor) else type(weights[key]).__name__
            if found != tuple(own[key].shape):
                others.append(f"{key} is {found}, expected {tuple(own[key].shape)}")
    kinds = [
        [f"missing {key}" for key in own if key not in weights],
        [f"unexpected {key}" for key in weights if key not in own],
        others,
    ]
    count = sum(map(len, kinds))
    if count:
        shown = [problem for kind in kinds for problem in kind[: 4 if count <= 4 else 2]]
        more = f" and {count - len(shown)} more" if count > len(shown) else ""
        raise UserError(f"{path}: the weights do not fit {type(module).__name__}: {'; '.join(shown)}{more}")
    require_finite(weights, path=path)
    module.load_state_dict(dict(weights))


def require_finite(weights: Mapping[str, torch.Tensor], *, path: Path) -> None:
    """Raise UserError naming the file and the first tensors that hold a NaN or an infinity."""
    bad = [key for key, value in weights.items() if not torch.isfinite(value).all()]
    if bad:
        raise UserError(f"{path}: weights that are not finite: {', '.join(bad[:4])}")
