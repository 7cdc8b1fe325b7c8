"""A fence's secret: 32 random bytes in a file that only its owner can read."""

import os
import secrets
import stat
from pathlib import Path

from common.runtime import ownership, storage
from common.runtime.errors import UserError

LENGTH = 32


def secret_key(path: Path) -> bytes:
    """The key in a file, which is made where there is none.

    Raises UserError where the file holds anything else, or others than its owner may read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ownership.locked(path):
        if not path.exists():
            storage.write_bytes(path, secrets.token_bytes(LENGTH), mode=0o600)
    with path.open("rb") as file:
        found, key = os.fstat(file.fileno()), file.read(LENGTH + 1)
    if os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077:
        raise UserError(f"{path}: others may read this secret: `chmod 600` it, or delete it to have a new one")
    if len(key) != LENGTH:
        raise UserError(f"{path}: expected a key of {LENGTH} bytes: delete the file to have a new one")
    return key
