"""All results there are, dataset by dataset, and the paper's averages beside ours: python -m common.summary"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from common import tables
from common.datasets import SPECS
from common.defenses import DEFENSES
from common.errors import UserError
from common.paths import PAPER_RESULTS, REPOSITORY, DatasetFolder
from common.results import (
    PAPER_DATASETS,
    Key,
    Paper,
    Reduction,
    Report,
    Reports,
    UnderProtocol,
    read_paper,
    read_reports,
    read_seconds,
)

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


def dataset_table(folder: DatasetFolder, reports: Reports, paper: Paper, *, style: str) -> str:
    """Each defence of one dataset, alone and with Diffence; the paper's AUCs where they have been filled in."""
    told = {name: row for name, row in paper.tables.get(folder.name, {}).items() if row.auc != [None, None]}
    header = [*HEADER, *(["paper: AUC alone / with"] if told else [])]
    pairs = sorted({(key.model, key.defense) for key in reports}, key=_place)
    rows = []
    for model, defense in pairs:
        row = _row(folder, reports, model, defense)
        if told:
            row.append(_both(told[defense].auc if model == "resnet" and defense in told else [None, None]))
        rows.append(row)
    return tables.STYLES[style](header, rows)


def _place(pair: tuple[str, str]) -> tuple[bool, str, int]:
    """ResNet before other models, defences in the registry's order."""
    model, defense = pair
    return model != "resnet", model, list(DEFENSES).index(defense)


def _row(folder: DatasetFolder, reports: Reports, model: str, defense: str) -> list[str]:
    both = [reports.get(Key(model, defense, fenced)) for fenced in (False, True)]
    accuracy = next(report.accuracy.test for report in both if report is not None)
    held_out, published = ([_under(report, name) for report in both] for name in ("held_out", "published"))
    seconds = read_seconds(folder.classifier(model=model, defense=defense))
    return [
        defense if model == "resnet" else f"{defense} ({model})",
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
READING = """\
By how many per cent Diffence lowers the value of the best attack, averaged over CIFAR-10, CIFAR-100 and SVHN. The
paper's percentages are read as relative reductions, 1 - with / without for each dataset. Whether percentage points are
meant is not known here: the talk's AUC of 79 % to 56 % would be 29 % or 23 points. The intervals are of our numbers,
for the samples that the attacks are judged on; the paper gives none."""


def headline_rows(everything: dict[str, Reports], paper: Paper) -> list[list[str]]:
    """The paper's averages beside ours, for what has been evaluated on all three of its datasets."""
    rows = []
    for defense, told in paper.headline.items():
        found = [everything.get(name, {}).get(Key("resnet", defense, True)) for name in PAPER_DATASETS]
        for name, value in (("accuracy", told.accuracy), ("auc", told.auc)):
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


def summarise(root: Path, datasets: list[str], *, style: str) -> str:
    """The whole summary of the repository at ``root``. Raises UserError where there is no result to show."""
    paper = read_paper(root / PAPER_RESULTS)
    folders = [DatasetFolder(root / name) for name in datasets]
    everything = {folder.name: read_reports(folder) for folder in folders}
    if not any(everything.values()):
        raise UserError(
            f"no results of {', '.join(datasets)} yet: in {datasets[-1]}/ `python train_defense.py "
            f"--defense undefended`, and in evaluate_MIAs/ `bash evaluate_mia.sh --defense undefended`"
        )
    return "\n\n".join(_sections(folders, everything, paper, style)) + "\n"


def _sections(folders: list[DatasetFolder], everything: dict[str, Reports], paper: Paper, style: str) -> Iterator[str]:
    table, mark = tables.STYLES[style], "### " if style == "markdown" else ""
    for folder in folders:
        if everything[folder.name]:
            yield f"{mark}{folder.name}\n\n{dataset_table(folder, everything[folder.name], paper, style=style)}"
    rows = headline_rows(everything, paper)
    if rows:
        fenced = (report for name in PAPER_DATASETS for report in everything[name].values() if report.diffence)
        noisings = ", ".join(sorted({report.noising for report in fenced}))
        yield f"{mark}The paper's averages\n\n{READING}\n\n{table(HEADLINE_HEADER, rows)}"
        yield f"Forward noising here: {noisings}; the paper's numbers are of --noising published."
        yield f"The paper's {paper.milliseconds_per_sample:g} ms more per sample are of its GPU and not compared."


def main(argv: list[str] | None = None, *, root: Path = REPOSITORY) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m common.summary",
        allow_abbrev=False,
        description="All evaluations there are, and, where the paper's three datasets are among them, its averages.",
    )
    parser.add_argument("--dataset", action="append", choices=tuple(SPECS), help="may be repeated; default: all")
    parser.add_argument("--markdown", action="store_true", help="Markdown instead of plain text")
    options = parser.parse_args(argv)
    try:
        print(summarise(root, options.dataset or list(SPECS), style="markdown" if options.markdown else "text"), end="")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
