"""Evaluations of before: a result folder holds the latest one, and runs/ below it those that it took the place of."""

import itertools
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.evaluation.record import Report
from common.runtime import config, storage
from common.runtime.errors import UserError
from common.runtime.paths import PAGE

AS_CONFIGURED = "as-configured"
LONGEST = 80  # characters of a name


def name_of(changes: Sequence[str], *, seed: int) -> str:
    """Names an evaluation by what differs from the YAML files, lines such as `diffence.scenario: 1 -> 2`, and the seed.

    >>> name_of(["diffence.scenario: 1 -> 2", "diffence.step: 160 -> 40"], seed=3)
    'scenario-2_step-40_seed-3'
    """
    parted = [change.partition(": ") for change in changes]
    parts = [f"{key.rpartition('.')[2]}-{values.rpartition(' -> ')[2]}" for key, _, values in parted]
    parts += [f"seed-{seed}"] if seed else []
    name = "_".join(re.sub(r"[^\w.-]+", "-", part) for part in parts) or AS_CONFIGURED
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 17]}-{storage.digest(parts)}"


def named(target: Path, name: str) -> Path:
    """The folder of a run that a user named. Raises UserError where there is one of this name, or it is none."""
    if not re.fullmatch(r"\w[\w.-]{0,99}", name):
        raise UserError(f"--out {name}: expected a name of letters, digits, dots, hyphens and underscores")
    folder = target / "runs" / name
    if folder.exists():
        raise UserError(f"{folder} is there already: give another --out, or move it away")
    return folder


def from_runs(page: str) -> str:
    """The page of a result folder, its links as they lead from a folder in runs/, which is two deeper."""
    return page.replace('href="../', 'href="../../../')


def keep(target: Path, latest: Report) -> None:
    """Copy what is in a result folder to runs/, where it is of another evaluation than the one that is to come."""
    try:
        there = config.parse(storage.read_json(target / "report.json"), Report, source=str(target))
    except (OSError, ValueError):  # nothing is there, or it is damaged
        return
    if there.evaluation is None or there.evaluation == latest.evaluation:
        return
    runs = target / "runs"
    name = there.run or there.evaluation
    folder = next(path for path in (runs / f"{name}{end}" for end in _ends()) if not _is_another(path, there))
    if not folder.exists():
        with storage.staged_folders(folder, last="report.json") as (stage,):
            for path in target.iterdir():
                if path.name == PAGE:
                    storage.write_text(stage / PAGE, from_runs(path.read_text()))
                elif path.is_file() and not path.name.startswith("."):
                    shutil.copy(path, stage)


def _ends() -> Iterator[str]:
    yield ""
    yield from (f"-{number}" for number in itertools.count(2))


def _is_another(folder: Path, report: Report) -> bool:
    """Whether a folder is taken by another evaluation, as one is whose report is damaged."""
    try:
        there = storage.read_json(folder / "report.json")
    except FileNotFoundError:
        return folder.exists()
    except (OSError, ValueError):
        return True
    return not isinstance(there, dict) or there.get("evaluation") != report.evaluation
