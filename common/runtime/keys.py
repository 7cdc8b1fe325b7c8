"""A fence's secret: 32 random bytes in a file that only its owner can read."""

import hashlib
import os
import secrets
import stat
from pathlib import Path

from common.runtime import ownership, storage
from common.runtime.errors import UserError

LENGTH = 32
MOST = 4096  # bytes of a key file


def secret_key(path: Path) -> bytes:
    """The key in a file, which is made where there is none.

    Raises UserError where the file holds anything else, or others than its owner may read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ownership.locked(path):
        if not path.exists():
            storage.write_bytes(path, secrets.token_bytes(LENGTH), mode=0o600)
    key = _of_owner(path, most=LENGTH)
    if len(key) != LENGTH:
        raise UserError(f"{path}: expected a key of {LENGTH} bytes: delete the file to have a new one")
    return key


def write(path: Path, key: bytes) -> None:
    """A key of any length, and a checksum behind it."""
    storage.write_bytes(path, key + hashlib.sha256(key).digest(), mode=0o600)


def read(path: Path) -> bytes:
    """What ``write`` wrote. Raises UserError where it is missing or damaged, or others may read it."""
    try:
        data = _of_owner(path, most=MOST)
    except OSError as error:
        raise UserError(f"{path}: no key can be read ({error.strerror})") from error
    key, seal = data[: -storage.SEAL], data[-storage.SEAL :]
    if not key or hashlib.sha256(key).digest() != seal:
        raise UserError(f"{path} is damaged: its checksum does not fit what it holds")
    return key


def _of_owner(path: Path, *, most: int) -> bytes:
    """The file's bytes, one more than ``most`` at most. Raises UserError where others than its owner may read it."""
    with path.open("rb") as file:
        found, data = os.fstat(file.fileno()), file.read(most + 1)
    if os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077:
        raise UserError(f"{path}: others may read this secret: `chmod 600` it, or delete it to have a new one")
    return data
