"""What a command is going to leave behind, and what is there of it already: its first lines, and all of --dry-run."""

from collections.abc import Iterable
from dataclasses import dataclass

from common.reports import tables
from common.runtime.paths import DatasetFolder
from common.training.jobs import Job, last_seconds, state


@dataclass(frozen=True)
class Item:
    """A file or folder to be made.

    path:     as it is shown
    state:    what is there of it
    seconds:  how long it took when it was made last; None where nobody wrote that down
    """

    path: str
    state: str
    seconds: float | None = None


def of_job(job: Job, folder: DatasetFolder) -> Item:
    return Item(folder.shown(job.path), state(job).says, last_seconds(job.path))


def table(items: Iterable[Item]) -> str:
    """A row for each item."""
    rows = [(item.path, item.state, "-" if item.seconds is None else f"{item.seconds:.0f} s") for item in items]
    return tables.text(("makes", "now", "took last"), rows)
