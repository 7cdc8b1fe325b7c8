"""One owner at a time of each thing that commands make: a file, or a folder with all that is in it."""

import errno
import os
import shlex
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path

from common.runtime import distributed, storage
from common.runtime.errors import UserError

try:
    import fcntl
except ImportError:  # not a Unix system
    fcntl = None  # type: ignore[assignment]

SILENCE = 0.5  # seconds that a process waits before it says so


@contextmanager
def owned(target: Path, *, given: bool = False) -> Iterator[None]:
    """Within the block no other command makes this; the processes of one command own it together, by their first.

    See ``locked``. Every process of the command must come here.
    """
    with locked(target, given=given) if distributed.is_first() else nullcontext():
        distributed.barrier()  # until the first process has it for all
        yield


@contextmanager
def locked(target: Path, *, given: bool = False) -> Iterator[None]:
    """Within the block no other process is in a block of the same target; this one waits, with a line for whom.

    What killed owners left half written is removed; ``given``, where a user said where the target is, spares what may
    be of others (see ``storage.sweep``). The system lets go of the lock when a process ends, however it ends. Where the
    file system or the system has no locks, a line says so and the block is entered all the same.

    Raises UserError where something else than a file stands in the place of the lock: it is not opened.
    """
    target = Path(os.path.abspath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.lock")
    file = _locked_file(path, target)
    try:
        if file is not None:
            os.truncate(file, 0)
            os.pwrite(file, _own_name().encode(), 0)
            storage.sweep(target, given=given)
        yield
    finally:
        if file is not None:
            path.unlink(missing_ok=True)
            os.close(file)


def _locked_file(path: Path, target: Path) -> int | None:
    """The lock's file, made where it is missing and locked; None where there are no locks."""
    while True:
        file = _opened(path)
        try:
            _lock(file, target)
            if _is_at(file, path):
                return file
            os.close(file)  # its owner has taken it away: another one may be there
        except OSError as error:
            os.close(file)
            path.unlink(missing_ok=True)
            _warn(str(error))
            return None
        except BaseException:
            os.close(file)
            raise


@cache
def _warn(reason: str) -> None:
    """Once in a process."""
    print(f"files cannot be locked here ({reason}): start no second command for the same target", file=sys.stderr)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _opened(path: Path) -> int:
    """A file to lock, made where it is missing; nothing in it is changed, and a link is not followed."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        file = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise UserError(f"{path}: a link or a folder stands where a lock is to be: move it away") from error
        raise
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(file)
        raise UserError(f"{path}: something else than a file of its own stands where a lock is to be: move it away")
    return file


def _lock(file: int, target: Path) -> None:
    if fcntl is None:
        raise OSError("this system has none")
    for _ in range(10):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(SILENCE / 10)
    owner = os.pread(file, 1000, 0).decode(errors="replace").strip() or "another process"
    print(f"waiting for {owner}, which has {target}", file=sys.stderr)
    fcntl.flock(file, fcntl.LOCK_EX)


def _own_name() -> str:
    """This process, as another one tells its user for whom it waits."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv and sys.argv[0] else "python"
    return f"process {os.getpid()} on {socket.gethostname()} ({command})"
