"""Reports read back from disk: nothing that is damaged or belongs elsewhere is taken."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from common.evaluation.record import Report
from common.runtime import config, storage
from common.runtime.errors import UserError
from common.runtime.paths import FENCED, DatasetFolder
from common.runtime.subject import Subject


class Key(NamedTuple):
    subject: Subject
    diffence: bool


Reports = dict[Key, Report]


def read(folder: DatasetFolder, *, defenses: Collection[str]) -> Reports:
    """Every report of a dataset folder. Raises UserError naming each that is damaged or belongs elsewhere."""
    reports, refused = {}, []
    for path in folder.reports():
        try:
            report = config.parse(storage.read_json(path), Report, source=folder.shown(path))
            _require_home(report, path, folder, defenses)
        except UserError as error:
            refused.append(str(error))
        except (ValueError, OSError) as error:
            refused.append(f"{folder.shown(path)}: not readable JSON ({error})")
        else:
            reports[Key(report.subject, report.diffence)] = report
    if refused:
        listed = "\n".join(refused)
        raise UserError(f"{listed}\nMove such folders away, or evaluate again with evaluate_mia.sh")
    return reports


def subjects(reports: Reports, *, defenses: Collection[str]) -> list[Subject]:
    """ResNet before other models, defences in the given order."""
    order = {name: place for place, name in enumerate(defenses)}

    def place(subject: Subject) -> tuple[bool, str, str, int]:
        return subject.model != "resnet", subject.model, subject.original or "", order[subject.defense]

    return sorted({key.subject for key in reports}, key=place)


def torn(reports: Reports) -> list[str]:
    """A line for each classifier whose reports with and without Diffence are of different evaluations."""
    lines = []
    for key, report in reports.items():
        other = reports.get(Key(key.subject, False))
        if key.diffence and other is not None and not same_evaluation(report, other):
            lines.append(
                f"WARNING: {report.dataset}, {key.subject}: the results with and without Diffence are of different "
                "evaluations: evaluate again with evaluate_mia.sh"
            )
    return lines


def same_evaluation(one: Report, other: Report) -> bool:
    """Of a report with Diffence and one without.

    Reports that were written before evaluations had names are compared by what they were made from."""
    for name in one.protocols.keys() & other.protocols.keys():
        fenced, without = one.protocols[name].best, other.protocols[name].best
        if fenced.difference and abs(fenced.difference.value - (fenced.auc - without.auc)) > 1e-9:
            return False
    if one.evaluation is None and other.evaluation is None:
        return (one.inputs, one.config, one.seed) == (other.inputs, other.config, other.seed)
    return one.evaluation == other.evaluation


def _require_home(report: Report, path: Path, folder: DatasetFolder, defenses: Collection[str]) -> None:
    """UserError where a report stands in another folder than an evaluation would have written it to."""
    home = folder.results(report.subject, diffence=report.diffence)
    if report.dataset != folder.name or report.defense not in defenses or home != path.parent:
        name = report.subject.name + (FENCED if report.diffence else "")
        raise UserError(f"{folder.shown(path)}: is a report of {report.dataset}, {name} ({report.model})")
