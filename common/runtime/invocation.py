"""What was asked for, when, and by which code: what a report says of its making."""

import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from common.runtime.paths import REPOSITORY


def command() -> str:
    """The command line of this process, without the folder of the script."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def date() -> str:
    """Now, in UTC: 2026-11-27T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def commit() -> str | None:
    """Of the repository that this code is in, with -changed where tracked files differ; None where git knows none."""
    git = ["git", "-C", str(REPOSITORY)]
    try:
        head, changed = (
            subprocess.run([*git, *what], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            for what in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}-changed" if changed else head
