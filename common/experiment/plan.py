"""What a command is going to leave behind, and what is there of it already: its first lines, and all of --dry-run."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from common.reports import tables
from common.runtime import storage
from common.runtime.paths import DatasetFolder
from common.training.jobs import Job, last_seconds, state


@dataclass(frozen=True)
class Item:
    """A file or folder to be made.

    path:     as it is shown
    state:    what is there of it
    seconds:  how long it took when it was made last; None where nobody wrote that down
    size:     bytes of the file that is there
    """

    path: str
    state: str
    seconds: float | None = None
    size: int | None = None


def of_file(path: Path, folder: DatasetFolder, *, now: str, seconds: float | None = None) -> Item:
    size = path.stat().st_size if path.is_file() else None
    return Item(folder.shown(path), now, seconds, size)


def of_job(job: Job, folder: DatasetFolder) -> Item:
    return of_file(job.path, folder, now=state(job).says, seconds=last_seconds(job.path))


def of_results(report: Path, folder: DatasetFolder) -> Item:
    """A result folder, by the report in it."""
    now = "there, written anew" if report.is_file() else "not there"
    try:
        seconds = storage.read_json(report)["seconds"]
    except (OSError, ValueError, KeyError, TypeError):  # whatever is there is about to be written anew
        seconds = None
    took = float(seconds) if isinstance(seconds, (int, float)) else None
    return Item(folder.shown(report.parent), now, took)


def table(items: Iterable[Item]) -> str:
    """A row for each item."""
    rows = [(item.path, item.state, _megabytes(item.size), _seconds(item.seconds)) for item in items]
    return tables.text(("makes", "now", "size", "took last"), rows)


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.2f} MB"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f} s"
