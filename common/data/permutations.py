"""Permutations of a training set as files, and those that were published with the paper's code.

A file is read by a reader that runs nothing in it.
"""

import io
import pickle
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.runtime import storage
from common.runtime.errors import UserError


@dataclass(frozen=True)
class PublishedPartition:
    permutation_sha256: str  # of the pickle
    members: int  # the first so many of the permutation


PUBLISHED = {
    "cifar10": PublishedPartition("7e72e8532d34c17d04cd8d4d603caedc3cd2118c9643849cad4463e3f046cf17", 25_000),
    "cifar100": PublishedPartition("3b917503c3880bf9bc64f939aba152ca9ad47687c138454d1608100f2549d174", 25_000),
    "svhn": PublishedPartition("ffa8cfc9b6f23d49d8e840d398d92c2d5d6eec7b52f4c6eb8eb04732ab58b06e", 5_000),
}


def check(permutation: np.ndarray, *, size: int, source: str) -> np.ndarray:
    """The permutation as int64 [size]; UserError naming ``source`` where it is not one of 0 … size - 1."""
    if permutation.ndim != 1 or not np.issubdtype(permutation.dtype, np.integer):
        raise UserError(
            f"{source}: expected a one-dimensional integer array, found {permutation.dtype} "
            f"of shape {permutation.shape}"
        )
    if len(permutation) != size:
        raise UserError(f"{source}: a permutation of {len(permutation)} samples, but the training set has {size}")
    if not np.array_equal(np.sort(permutation), np.arange(size)):
        raise UserError(f"{source}: not a permutation of 0 … {size - 1}: indices repeat or lie outside")
    return permutation.astype(np.int64)


def read_permutation(path: Path, *, size: int) -> np.ndarray:
    """A permutation int64 [size] from .npy, .npz (one array) or .pkl; UserError where the file holds anything else."""
    return read_with_sha256(path, size=size)[0]


def read_with_sha256(path: Path, *, size: int) -> tuple[np.ndarray, str]:
    """As ``read_permutation``, and the sha256 of the very bytes that it was read from."""
    readers = {".npy": _read_npy, ".npz": _read_npz, ".pkl": _read_pickle}
    if path.suffix not in readers:
        raise UserError(f"{path}: expected a file ending in {', '.join(readers)}")
    if not path.is_file():
        raise UserError(f"{path} not found")
    try:
        data = path.read_bytes()
        array = readers[path.suffix](data)
    except Exception as error:  # whatever a hostile file provokes, the answer is the same
        raise UserError(f"{path}: not a readable {path.suffix} file with one integer array: {error}") from error
    return check(np.asarray(array), size=size, source=str(path)), storage.bytes_sha256(data)


def _read_npy(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)


def _read_npz(data: bytes) -> np.ndarray:
    arrays = storage.read_npz(io.BytesIO(data))
    if len(arrays) != 1:
        raise ValueError(f"expected one array, found {len(arrays)}")
    return next(iter(arrays.values()))


def _read_pickle(data: bytes) -> np.ndarray:
    array = _ArrayUnpickler(io.BytesIO(data)).load()
    if not isinstance(array, _Array):
        raise ValueError(f"expected a numpy array, found {type(array).__name__}")
    return array.values


class _Kind:
    """What stands for numpy's dtype, which takes from a file what makes it read memory that is not its own."""

    def __init__(self, name: str, *_: object) -> None:
        if type(name) is not str or not re.fullmatch(r"[a-zA-Z][0-9]{1,9}", name):
            raise pickle.UnpicklingError("it holds something else than an integer array")
        self.dtype = np.dtype(name)
        if self.dtype.kind not in "iu":
            raise pickle.UnpicklingError(f"expected a one-dimensional integer array, found {self.dtype}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Only the byte order."""
        if state[1] not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError("it holds something else than an integer array")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """What stands for numpy's array, whose ``values`` are read as a buffer."""

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0, dtype=np.int64)

    def __setstate__(self, state: tuple[object, tuple[int, ...], _Kind, object, bytes]) -> None:
        _, shape, kind, _, data = state
        self.values = _values(data, kind, shape)


def _values(data: bytes | bytearray, kind: _Kind, shape: tuple[int, ...]) -> np.ndarray:
    if not isinstance(data, (bytes, bytearray)) or not isinstance(kind, _Kind) or type(shape) is not tuple:
        raise pickle.UnpicklingError("it holds something else than an integer array")
    if len(shape) != 1:
        raise pickle.UnpicklingError(f"expected a one-dimensional integer array, found {kind.dtype} of shape {shape}")
    return np.frombuffer(data, dtype=kind.dtype, count=shape[0])


def _bytes_of_latin1(text: str, encoding: str) -> bytes:
    """How the oldest protocols, 0 to 2, write bytes down."""
    if type(text) is not str or encoding != "latin1":
        raise pickle.UnpicklingError(
            f"it encodes {type(text).__name__} as {encoding}, which an integer array does not need"
        )
    return text.encode("latin1")


def _array_of_buffer(buffer: bytes | bytearray, kind: _Kind, shape: tuple[int, ...], *_: object) -> _Array:
    """How protocol 5 writes an array down; its order in memory does not matter, since one dimension is wanted."""
    array = _Array()
    array.values = _values(buffer, kind, shape)
    return array


class _ArrayUnpickler(pickle.Unpickler):
    """Reads the pickle of a plain integer array, with nothing of numpy's own that a file could set the state of."""

    _ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Kind,
        ("_codecs", "encode"): _bytes_of_latin1,
        ("numpy.core.numeric", "_frombuffer"): _array_of_buffer,
        ("numpy._core.numeric", "_frombuffer"): _array_of_buffer,
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which an integer array does not need")
        return self._ALLOWED[module, name]


def is_published(order: np.ndarray, *, dataset: str, sha256: str | None) -> bool | None:
    """Whether a permutation int64 [n] is the published one; None where none is published for the dataset.

    sha256: of the file it was read from, where there was one

    True is certain: the file is the published one, or the array written as it writes them gives that file. False says
    that it was not recognised: an old pickle of the same array may be encoded in another way.
    """
    if dataset not in PUBLISHED:
        return None
    known = PUBLISHED[dataset].permutation_sha256
    return known in (sha256, storage.bytes_sha256(pickled(order)))


def pickled(order: np.ndarray) -> bytes:
    """A permutation [n] as the published files hold it: one int64 array, protocol 4, under numpy 1's module names."""
    data = pickle.dumps(np.ascontiguousarray(order, dtype="<i8"), protocol=4)
    now, then = (b"\x8c" + bytes([len(name)]) + name for name in (b"numpy._core.multiarray", b"numpy.core.multiarray"))
    if now not in data:
        return data
    # the name stands in the first frame, whose length is bytes 3 to 10
    (length,) = struct.unpack("<Q", data[3:11])
    return data[:3] + struct.pack("<Q", length + len(then) - len(now)) + data[11:].replace(now, then, 1)
