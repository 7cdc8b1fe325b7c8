"""All results there are, dataset by dataset, and the paper's averages beside ours."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from common.evaluation.record import Reduction, Report, UnderProtocol
from common.reports import paper as papers
from common.reports import reading, tables
from common.reports.paper import PAPER_DATASETS, Paper
from common.reports.reading import Key, Reports
from common.runtime.errors import UserError
from common.runtime.modes import TableStyle
from common.runtime.paths import PAPER_RESULTS, DatasetFolder
from common.runtime.subject import Subject

NOTHING = "-"  # a cell without a value
HEADER = [
    "defence",
    "test accuracy",
    "best AUC alone",
    "with Diffence",
    "published: alone / with",
    "TPR at 1 % FPR, alone / with",
    "seconds to train",
]


def dataset_table(reports: Reports, seconds: Mapping[Subject, float | None], *, style: TableStyle) -> str:
    """Each defence of one dataset, alone and with Diffence.

    The rows have the order of ``seconds``, how long each classifier's training took.
    """
    return tables.STYLES[style](HEADER, [_row(reports, subject, seconds[subject]) for subject in seconds])


def _row(reports: Reports, subject: Subject, seconds: float | None) -> list[str]:
    both = [reports.get(Key(subject, fenced)) for fenced in (False, True)]
    accuracy = next(report.accuracy.test for report in both if report is not None)
    held_out, published = ([_under(report, name) for report in both] for name in ("held_out", "published"))
    return [
        subject.defense if subject.is_default else str(subject),
        f"{accuracy:.3f}",
        *(NOTHING if part is None else _auc(part) for part in held_out),
        _both([None if part is None else part.best.auc for part in published]),
        _both([None if part is None else _tpr(part) for part in held_out]),
        NOTHING if seconds is None else f"{seconds:.0f}",
    ]


def _under(report: Report | None, protocol: str) -> UnderProtocol | None:
    return None if report is None else report.protocols.get(protocol)


def _auc(part: UnderProtocol) -> str:
    """That of the best attack, with its interval where there is one."""
    ends = part.best.auc_ci
    return f"{part.best.auc:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")


def _tpr(part: UnderProtocol) -> float | None:
    """At 1 % FPR, of the attack with the greatest AUC."""
    return max(part.attacks.values(), key=lambda row: row.auc).tpr_at_fpr.get("0.01")


def _both(values: Sequence[float | None]) -> str:
    return " / ".join(NOTHING if value is None else f"{value:.3f}" for value in values)


class Mean(NamedTuple):
    """A mean over datasets, in per cent, with its 95 % interval from the datasets' standard errors."""

    value: float
    half: float

    def __str__(self) -> str:
        return f"{self.value:.1f} [{self.value - self.half:.1f}, {self.value + self.half:.1f}]"

    def less(self, other: float) -> str:
        value = self.value - other
        return f"{value:+.1f} [{value - self.half:+.1f}, {value + self.half:+.1f}]"


def mean_reduction(parts: list[Reduction]) -> Mean:
    """Relative reductions of independent datasets, averaged: 1.96 standard errors on either side."""
    value = sum(part.relative for part in parts) / len(parts)
    error = math.sqrt(sum(part.standard_error**2 for part in parts)) / len(parts)
    return Mean(100 * value, 100 * 1.96 * error)


HEADLINE_HEADER = [
    "with Diffence, against",
    "paper, %",
    "published protocol here, % [95 %]",
    "less the paper's",
    "held out here, % [95 %]",
]
AVERAGES = "The paper's averages"
READING = """\
By how many per cent Diffence lowers the value of the best attack, averaged over CIFAR-10, CIFAR-100 and SVHN:
relative reductions, 1 - with / without, as the paper's are (its table III). The intervals are of our numbers, for the
samples that the attacks are judged on; the paper gives none."""


def headline_rows(everything: dict[str, Reports], paper: Paper) -> list[list[str]]:
    """The paper's averages beside ours, for what has been evaluated on all three of its datasets."""
    rows = []
    for defense, reported in paper.headline.items():
        found = [everything.get(name, {}).get(Key(Subject("resnet", defense), True)) for name in PAPER_DATASETS]
        for name, value in (("accuracy", reported.accuracy), ("auc", reported.auc)):
            published, held_out = (_mean(found, protocol, name) for protocol in ("published", "held_out"))
            if published is not None or held_out is not None:
                less = NOTHING if published is None else published.less(value)
                here = [NOTHING if mean is None else str(mean) for mean in (published, held_out)]
                rows.append(
                    [f"{defense}: attack {'AUC' if name == 'auc' else name}", f"{value:.1f}", here[0], less, here[1]]
                )
    return rows


def _mean(reports: list[Report | None], protocol: str, name: str) -> Mean | None:
    parts = [_under(report, protocol) for report in reports]
    reductions = [part.reduction for part in parts if part is not None and part.reduction is not None]
    if len(reductions) < len(PAPER_DATASETS):
        return None
    return mean_reduction([each.auc if name == "auc" else each.balanced_accuracy for each in reductions])


def summarise(
    root: Path,
    datasets: Sequence[str],
    *,
    defenses: Collection[str],
    seconds: Callable[[Path], float | None],
    style: TableStyle,
) -> str:
    """The whole summary of the repository at ``root``.

    defenses:  those there are, in the order of the rows
    seconds:   how long the training of a checkpoint took

    Raises UserError where there is no result to show.
    """
    paper = papers.read(PAPER_RESULTS, defenses=defenses)
    folders = [DatasetFolder(root / name) for name in datasets]
    everything = {folder.name: reading.read(folder, defenses=defenses) for folder in folders}
    if not any(everything.values()):
        raise UserError(
            f"no results of {', '.join(datasets)} yet: in {datasets[0]}/ `python train_defense.py "
            f"--defense undefended`, and in evaluate_MIAs/ `bash evaluate_mia.sh --defense undefended`"
        )
    sections = []
    for folder in folders:
        subjects = reading.subjects(everything[folder.name], defenses=defenses)
        if subjects:
            times = {subject: seconds(folder.classifier(subject)) for subject in subjects}
            table = dataset_table(everything[folder.name], times, style=style)
            sections.append(f"{tables.title(folder.name, style=style)}\n\n{table}")
            sections += [tables.prose(line, style=style) for line in reading.torn(everything[folder.name])]
    return "\n\n".join([*sections, *_averages(everything, paper, style)]) + "\n"


def _averages(everything: dict[str, Reports], paper: Paper, style: TableStyle) -> Iterator[str]:
    rows = headline_rows(everything, paper)
    if rows:
        fenced = (report for name in PAPER_DATASETS for report in everything[name].values() if report.diffence)
        noisings = ", ".join(sorted({report.noising for report in fenced}))
        table = tables.STYLES[style](HEADLINE_HEADER, rows)
        yield f"{tables.title(AVERAGES, style=style)}\n\n{tables.prose(READING, style=style)}\n\n{table}"
        yield f"Forward noising here: {noisings}; the paper's numbers are of --noising published."
        yield f"The paper's {paper.milliseconds_per_sample:g} ms more per sample are of its GPU and not compared."
