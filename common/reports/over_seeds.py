"""Evaluations over several seeds: mean and spread of every attack, without Diffence and with it."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from common.attacks import ATTACKS
from common.evaluation.record import AttackRow, Report, UnderProtocol
from common.reports import reading, tables
from common.reports.reading import Key
from common.runtime.errors import UserError
from common.runtime.modes import TableStyle
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject

Pairs = Sequence[tuple[Report, Report]]
"""Of each seed, without Diffence and with it."""

NOTHING = "-"
READING = (
    "Mean and standard deviation over the seeds, each with its own partition, diffusion model, classifier, fences and "
    "attacks. Where three figures stand: alone, with the paper's fence, with the steady fence. Strongest: of all "
    "attacks, by the final test itself, so too great by chance. By labels: of the attacks that see labels alone, whom "
    "no fence stops that keeps labels. Chosen: the attack that the fitting role alone would choose."
)
HEADER = [
    "defence",
    "seeds",
    "test accuracy",
    "strongest AUC, alone",
    "paper's fence",
    "steady fence",
    "by labels",
    "chosen attack",
    "one query at best",
    "calibration error",
    "reconstructions a query",
    "published protocol, alone / fenced",
]
ATTACK_HEADER = [
    "attack",
    "queries",
    "AUC alone",
    "paper's fence",
    "steady fence",
    "difference, paper's / steady",
    "TPR at 1 % FPR",
]


def table(found: Mapping[Subject, Pairs], *, style: TableStyle) -> str:
    """All defences in one table, and the attacks of each in one of its own."""
    make = tables.STYLES[style]
    parts = [tables.prose(READING, style=style), make(HEADER, rows(found))]
    for subject, pairs in found.items():
        seeds = ", ".join(str(fenced.seed) for _, fenced in pairs)
        named = tables.title(f"{subject}, seeds {seeds}", style=style, depth=4)
        parts += [named, make(ATTACK_HEADER, list(_attack_rows(pairs)))]
    return "\n\n".join(parts)


def summarise(root: Path, datasets: Sequence[str], *, defenses: Collection[str], style: TableStyle) -> str:
    """Of every dataset, all evaluations over seeds that are finished, defences in the given order.

    Raises UserError where there is none.
    """
    parts = []
    for name in datasets:
        found = read(DatasetFolder(root / name), defenses)
        if found:
            parts += [tables.title(f"{name}, over seeds", style=style), table(found, style=style)]
    if not parts:
        raise UserError(
            f"no evaluations over seeds of {', '.join(datasets)} yet: in {datasets[0]}/evaluate_MIAs/ "
            "`bash evaluate_mia.sh --defense undefended --seeds 0 1 2`"
        )
    return "\n\n".join(parts)


def rows(found: Mapping[Subject, Pairs]) -> list[list[str]]:
    """Under ``HEADER``, one for each defence."""
    return [_row(subject, pairs) for subject, pairs in found.items()]


def read(folder: DatasetFolder, defenses: Collection[str]) -> dict[Subject, list[tuple[Report, Report]]]:
    """The whole pairs of reports of every seed."""
    by_seed = [reading.read(folder.of_seed(seed), defenses=defenses) for seed in folder.seeds()]
    subjects = {key.subject for reports in by_seed for key in reports}
    order = list(defenses)
    found = {}
    for subject in sorted(subjects, key=lambda each: (each.model, each.original or "", order.index(each.defense))):
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
    sides = list(zip(*map(_sides, pairs), strict=True))

    def each(get: Callable[[UnderProtocol], float | None]) -> list[str]:
        return [spread([None if part is None else get(part) for part in side]) for side in sides]

    return [
        subject.defense if subject.is_default else str(subject),
        str(len(pairs)),
        spread([fenced.accuracy.test for _, fenced in pairs]),
        *each(lambda part: part.best.auc),
        each(_best_by_labels)[0],
        " / ".join(each(lambda part: None if part.chosen is None else part.chosen.auc)),
        " / ".join(each(_best_of_one_query)),
        " / ".join(each(_calibration_error)),
        " / ".join(each(lambda part: part.reconstructions_per_query)[1:]),
        " / ".join(spread([_published_auc(report) for report in side]) for side in zip(*pairs, strict=True)),
    ]


def _attack_rows(pairs: Pairs) -> Iterator[list[str]]:
    sides = [_sides(pair) for pair in pairs]
    names = dict.fromkeys(name for without, paper, _ in sides for name in paper.attacks if name in without.attacks)
    for name in names:
        rows = [[None if part is None else part.attacks.get(name) for part in each] for each in sides]
        rows = [[before, after, steady] for before, after, steady in rows if before and after]
        asked = next((row.queries for _, row, _ in rows if row and row.queries), None)
        yield [
            name,
            str(asked or NOTHING),
            *(spread([row and row.auc for row in side]) for side in zip(*rows, strict=True)),
            " / ".join(spread([_change(each[0], each[place]) for each in rows], sign="+") for place in (1, 2)),
            " / ".join(
                spread([row and row.tpr_at_fpr.get("0.01") for row in side]) for side in zip(*rows, strict=True)
            ),
        ]


def _change(before: AttackRow | None, after: AttackRow | None) -> float | None:
    return None if before is None or after is None else after.auc - before.auc


def _best_by_labels(part: UnderProtocol) -> float | None:
    """Of the attacks that see labels alone; correctness is one of them."""
    by_labels = {name for name, attack in ATTACKS.items() if attack.sees == "label" or name == "correctness"}
    return max((row.auc for name, row in part.attacks.items() if name in by_labels), default=None)


def _best_of_one_query(part: UnderProtocol) -> float | None:
    return max((row.auc for row in part.attacks.values() if row.queries == 1), default=None)


def _calibration_error(part: UnderProtocol) -> float | None:
    return None if part.utility is None else part.utility.calibration_error.value


def _published_auc(report: Report) -> float | None:
    return report.protocols["published"].best.auc if "published" in report.protocols else None


def _sides(pair: tuple[Report, Report]) -> tuple[UnderProtocol, UnderProtocol, UnderProtocol | None]:
    """Without a fence, with the paper's, and with the steady one where it was evaluated."""
    without, fenced = pair
    return without.protocols[without.main], fenced.protocols[fenced.main], fenced.protocols.get("steady")


def spread(values: Sequence[float | None], *, sign: str = "") -> str:
    """Mean and standard deviation (of one value none)."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return NOTHING
    mean = f"{np.mean(known):{sign}.3f}"
    return mean if len(known) == 1 else f"{mean} ± {np.std(known, ddof=1):.3f}"
