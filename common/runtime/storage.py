"""Files that appear whole or not at all, and what tells that a file is no longer what was written."""

import errno
import glob
import hashlib
import io
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CHECKSUM = "checksum"  # the key that holds a JSON file's, or a checkpoint's
TEMPORARY = 16 * "[0-9a-f]" + ".tmp"  # ends the name of what is half written, as a pattern
SEAL = hashlib.sha256().digest_size  # bytes


@dataclass(frozen=True)
class FileRead:
    """A file as it was when it was read.

    sha256:   of the bytes that were read
    checked:  the content fits the checksum that it carries; None where its format has no place for one
    """

    path: Path
    sha256: str
    checked: bool | None = None


def write_bytes(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that at any instant, even under SIGKILL, the path holds the old bytes or the new ones.

    The bytes go into a new file beside it first, whose name no other process has and which was no link before. What a
    killed process leaves of that is removed by the next owner of the path (see ownership.py). At no instant may more
    people read it than ``mode`` says, of which the umask takes away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with naming(path):
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Within the block what the system refuses is told with this file, which is what the user knows."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def sweep(target: Path, *, given: bool = False) -> None:
    """Remove what killed writers of a file or folder left half written.

    given:  the target is where a user said: what has names that only begin so, or is in the folder, is others'; else
            files named after the target (half.pt.progress) and all that is in the folder are of the same owner
    """
    name = glob.escape(target.name)
    left = [*target.parent.glob(f".{name}.{TEMPORARY}")]
    if not given:
        left += target.parent.glob(f".{name}.*.{TEMPORARY}")
        left += target.glob(f".*.{TEMPORARY}")
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


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


def read_json(path: Path) -> Any:
    """Raises ValueError where the file is not strict JSON in UTF-8."""
    return parse_json(path.read_bytes())


def parse_json(data: bytes) -> Any:
    """Strict JSON in UTF-8, with a byte order mark or without. Raises ValueError where it is none."""

    def refuse(token: str) -> None:
        raise ValueError(f"{token} is not JSON")

    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_array(path: Path, array: np.ndarray) -> None:
    """A .npy file with a seal after it, which ties the array to the names of the file and of its folder."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue() + _seal(path, buffer.getvalue()))


def read_array(path: Path, *, most: int) -> np.ndarray:
    """What ``write_array`` wrote to this path; ``most`` is the greatest number of bytes that it can have.

    Raises OSError where there is no file, and ValueError where its content is not what was written there.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most or data[-SEAL:] != _seal(path, data[:-SEAL]):
        raise ValueError("its checksum does not fit")
    return np.lib.format.read_array(io.BytesIO(data[:-SEAL]), allow_pickle=False)


MOST_UNPACKED = 64 * 2**30  # bytes of all arrays of a file


def read_npz(file: Path | io.BytesIO) -> dict[str, np.ndarray]:
    """The plain arrays of an .npz file, by name. Raises ValueError, OSError or zipfile.BadZipFile where it is none."""
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MOST_UNPACKED:
        raise ValueError(f"its arrays have {unpacked / 2**30:.0f} GiB, more than {MOST_UNPACKED / 2**30:.0f}")
    if isinstance(file, io.BytesIO):
        file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is no array")
    return arrays


def _seal(path: Path, data: bytes) -> bytes:
    return hashlib.sha256(f"{path.parent.name}/{path.name}\n".encode() + data).digest()


@contextmanager
def staged_folders(*targets: Path, last: str = "") -> Iterator[list[Path]]:
    """New folders to write into; all their files move into ``targets``, only if the block succeeds.

    last:  the name of the files that move when all others have
    """
    with ExitStack() as clean:
        stages = []
        for target in targets:
            stages.append(_temporary(target))
            clean.callback(shutil.rmtree, stages[-1], ignore_errors=True)
            stages[-1].mkdir(parents=True)
        yield stages
        for target in targets:
            target.mkdir(exist_ok=True)
        places = dict(zip(stages, targets, strict=True))
        files = {file: places[stage] / file.name for stage in stages for file in stage.iterdir()}
        for target in files.values():
            if target.is_dir():  # found before anything is moved
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
        for file in sorted(files, key=lambda file: (file.name == last, file.name)):
            os.replace(file, files[file])


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to write into, which becomes ``target``, whole, if the block succeeds.

    Raises FileExistsError where something stands there by then but an empty folder.
    """
    stage = _temporary(target)
    try:
        stage.mkdir(parents=True)
        yield stage
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        os.rename(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def digest(content: Any) -> str:
    """A short stable name for JSON-like content, for keys of finished work."""
    return json_sha256(content)[:16]


def json_sha256(content: Any) -> str:
    """Of JSON-like content, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-like content with its checksum beside it."""
    return {**content, CHECKSUM: json_sha256(dict(content))}


def bytes_sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
