"""The one boundary for errors: what a user reads, and the exit status.

0 done, 1 something a user can mend, 2 wrong usage, 3 a fault of the program, 130 interrupted, 141 nobody reads what is
printed.
"""

import os
import sys
import tempfile
import traceback

MENDABLE, FAULT, INTERRUPTED, UNREAD = 1, 3, 130, 141


def report(error: BaseException, *, whole: bool) -> int:
    """Say in one line what went wrong, keep the traceback in a file where it may help, and give the exit status.

    whole:  show the traceback too
    """
    from common.runtime.errors import UserError

    if isinstance(error, KeyboardInterrupt):
        print("interrupted: the same command goes on where this one stopped", file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it ends
        return UNREAD
    status, line = _described(error)
    if whole:
        traceback.print_exception(error)
    elif not isinstance(error, UserError):
        line += f" ({_kept(error)})"
    print(f"error: {line}", file=sys.stderr)
    return status


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
