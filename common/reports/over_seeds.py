"""Evaluations over several seeds: mean and spread of every attack, without Diffence and with it."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from common.evaluation.record import Report, UnderProtocol
from common.reports import reading, tables
from common.reports.reading import Key
from common.runtime import storage
from common.runtime.errors import UserError
from common.runtime.modes import TableStyle
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject

Pairs = Sequence[tuple[Report, Report]]
"""Of each seed, without Diffence and with it."""

NOTHING = "-"
BEGIN, END = "<!-- over seeds: begin -->", "<!-- over seeds: end -->"  # in a document
READING = (
    "Mean and standard deviation over the seeds, each with its own partition, diffusion model, classifier, fence and "
    "attacks. Strongest: of all attacks, by the final test itself, so too great by chance; chosen: by the fitting role "
    "alone."
)
HEADER = [
    "defence",
    "seeds",
    "test accuracy",
    "strongest AUC, alone",
    "with Diffence",
    "chosen AUC, alone",
    "with Diffence",
    "one query at best, with",
    "calibration error, alone / with",
    "published protocol, alone / with",
]
ATTACK_HEADER = ["attack", "queries", "AUC alone", "AUC with Diffence", "difference", "TPR at 1 % FPR, alone / with"]


def table(found: Mapping[Subject, Pairs], *, style: TableStyle) -> str:
    """All defences in one table, and the attacks of each in one of its own."""
    make, mark = tables.STYLES[style], "#### " if style == "markdown" else ""
    parts = [READING, make(HEADER, [_row(subject, pairs) for subject, pairs in found.items()])]
    for subject, pairs in found.items():
        seeds = ", ".join(str(fenced.seed) for _, fenced in pairs)
        parts += [f"{mark}{subject}, seeds {seeds}", make(ATTACK_HEADER, list(_attack_rows(pairs)))]
    return "\n\n".join(parts)


def summarise(root: Path, datasets: Sequence[str], *, defenses: Collection[str], style: TableStyle) -> str:
    """Of every dataset, all evaluations over seeds that are finished, defences in the given order.

    Raises UserError where there is none.
    """
    parts = []
    for name in datasets:
        found = _found(DatasetFolder(root / name), defenses)
        if found:
            parts += [f"{'### ' if style == 'markdown' else ''}{name}, over seeds", table(found, style=style)]
    if not parts:
        raise UserError(
            f"no evaluations over seeds of {', '.join(datasets)} yet: in {datasets[0]}/evaluate_MIAs/ "
            "`bash evaluate_mia.sh --defense undefended --seeds 0 1 2`"
        )
    return "\n\n".join(parts)


def put_into(document: Path, text: str) -> None:
    """Replace what stands between the two marks of a document. Raises UserError where they are not there."""
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"{document}: has no lines {BEGIN} and {END} to write between")
    storage.write_text(document, f"{before}{begin}\n\n{text}\n\n{end}{after}")


def _found(folder: DatasetFolder, defenses: Collection[str]) -> dict[Subject, list[tuple[Report, Report]]]:
    """The whole pairs of reports of every seed."""
    by_seed = [reading.read(folder.of_seed(seed), defenses=defenses) for seed in folder.seeds()]
    subjects = {key.subject for reports in by_seed for key in reports}
    order = list(defenses)
    found = {}
    for subject in sorted(subjects, key=lambda each: (each.model, order.index(each.defense))):
        both = [(reports.get(Key(subject, False)), reports.get(Key(subject, True))) for reports in by_seed]
        pairs = [
            (without, fenced)
            for without, fenced in both
            if without is not None and fenced is not None and reading.same_evaluation(fenced, without)
        ]
        if pairs:
            found[subject] = pairs
    return found


def _row(subject: Subject, pairs: Pairs) -> list[str]:
    def both(get: Callable[[UnderProtocol], float | None]) -> list[str]:
        return [spread([get(part) for part in column]) for column in zip(*map(_parts, pairs), strict=True)]

    return [
        subject.defense if subject.model == "resnet" else str(subject),
        str(len(pairs)),
        spread([fenced.accuracy.test for _, fenced in pairs]),
        *both(lambda part: part.best.auc),
        *both(lambda part: None if part.chosen is None else part.chosen.auc),
        both(_best_of_one_query)[1],
        " / ".join(both(_calibration_error)),
        " / ".join(spread([_published_auc(report) for report in side]) for side in zip(*pairs, strict=True)),
    ]


def _attack_rows(pairs: Pairs) -> Iterator[list[str]]:
    parts = [_parts(pair) for pair in pairs]
    for name in dict.fromkeys(name for without, fenced in parts for name in fenced.attacks if name in without.attacks):
        rows = [
            (without.attacks[name], fenced.attacks[name])
            for without, fenced in parts
            if name in without.attacks and name in fenced.attacks
        ]
        alone, behind = zip(*rows, strict=True)
        yield [
            name,
            str(behind[0].queries or NOTHING),
            spread([row.auc for row in alone]),
            spread([row.auc for row in behind]),
            spread([after.auc - before.auc for before, after in rows], sign="+"),
            " / ".join(spread([row.tpr_at_fpr.get("0.01") for row in side]) for side in (alone, behind)),
        ]


def _best_of_one_query(part: UnderProtocol) -> float | None:
    return max((row.auc for row in part.attacks.values() if row.queries == 1), default=None)


def _calibration_error(part: UnderProtocol) -> float | None:
    return None if part.utility is None else part.utility.calibration_error.value


def _published_auc(report: Report) -> float | None:
    return report.protocols["published"].best.auc if "published" in report.protocols else None


def _parts(pair: tuple[Report, Report]) -> tuple[UnderProtocol, UnderProtocol]:
    without, fenced = pair
    return without.protocols[without.main], fenced.protocols[fenced.main]


def spread(values: Sequence[float | None], *, sign: str = "") -> str:
    """Mean and standard deviation (of one value none)."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return NOTHING
    mean = f"{np.mean(known):{sign}.3f}"
    return mean if len(known) == 1 else f"{mean} ± {np.std(known, ddof=1):.3f}"
