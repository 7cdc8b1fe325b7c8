"""The one boundary for errors: what a user reads, and the exit status.

0 done, 1 something a user can mend, 2 wrong usage, 3 a fault of the program, 141 nobody reads what is printed; 128 and
the number of a signal where one ended the work: 130 interrupted by Ctrl-C, 143 told to end, 137 killed.
"""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

MENDABLE, FAULT, INTERRUPTED, UNREAD = 1, 3, 130, 141


INTERRUPTION = "interrupted"
GOES_ON = f"{INTERRUPTION}: the same command goes on where this one stopped"


@contextmanager
def nothing_begun() -> Iterator[None]:
    """Within the block Ctrl-C ends the program at once, in one line: an exception would leave imports half done."""

    def end(*_: object) -> None:
        os.write(2, f"{GOES_ON}\n".encode())
        os._exit(INTERRUPTED)

    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        if heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def report(error: BaseException, *, whole: bool, goes_on: bool) -> int:
    """Say in one line what went wrong, keep the traceback in a file where it may help, and give the exit status.

    whole:    show the traceback too
    goes_on:  the same command goes on where this one stops
    """
    from common.runtime.errors import PeerStopped, Stopped, UserError

    if isinstance(error, (KeyboardInterrupt, Stopped)):
        if not _launched():
            print(GOES_ON if goes_on else INTERRUPTION, file=sys.stderr)
        return 128 + error.number if isinstance(error, Stopped) else INTERRUPTED
    if _launched() and (isinstance(error, PeerStopped) or _lost_a_peer(error)):
        return MENDABLE
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it ends
        return UNREAD
    status, line = _described(error)
    if whole:
        traceback.print_exception(error)
    elif not isinstance(error, UserError):
        line += f" ({_kept(error)})"
    shown = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in line)
    print(f"error: {shown}", file=sys.stderr)
    return status


def _launched() -> bool:
    """Whether this is one of the processes of a --nproc, whose launcher speaks for all."""
    from common.runtime import children

    return children.LAST_WORDS in os.environ


def _lost_a_peer(error: BaseException) -> bool:
    """Whether torch could not reach another process of this launch."""
    from torch import distributed as dist

    said = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and ("Connection closed by peer" in said or "Connection reset by peer" in said)
    )


def _described(error: BaseException) -> tuple[int, str]:
    from common.runtime.errors import UserError

    said = str(error).strip()
    if isinstance(error, UserError):
        return MENDABLE, said
    if isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said:
        return MENDABLE, (
            "out of memory: lower batch_size in the YAML file of what is trained (physical_batch for DP-SGD), or "
            "group_size in configs/diffence.yaml, or leave other programs"
        )
    if isinstance(error, OSError) and error.strerror:
        return MENDABLE, f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    first = said.splitlines()[0] if said else "no message"
    return FAULT, f"{type(error).__name__}: {first}; this is a fault of the program"


def _kept(error: BaseException) -> str:
    """Where the traceback has been written, in a new file; it says so where even that is impossible."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="diffence-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return "--traceback shows where"
    return f"traceback: {file.name}"
