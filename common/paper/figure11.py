"""Figure 11: AUC and accuracy for other numbers of reconstructions N and other steps T."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from common.paper import words
from common.paper.bench import THRESHOLDS, Bench, Case
from common.paper.interface import Item, Made, Table
from common.reports import charts
from common.reports.paper import Paper
from common.runtime.subject import Subject

COUNTS = (2, 5, 10, 20, 30, 50)
STEPS = (40, 80, 120, 160, 200, 260)


def cases(bench: Bench) -> list[Case]:
    """Every N of a step draws from one bank."""
    return [
        Case(
            bench,
            Subject(),
            THRESHOLDS,
            [bench.fence(scenario=1, step=step, num_candidates=count) for count in COUNTS],
        )
        for step in STEPS
    ]


def measured(bench: Bench) -> np.ndarray:
    """AUC and accuracy of the best attack, by N and T: float64 [len(COUNTS), len(STEPS), 2]."""
    found = np.empty((len(COUNTS), len(STEPS), 2))
    for column, case in enumerate(cases(bench)):
        for row, judged in enumerate(case.judged()):
            best = judged.fenced.best
            found[row, column] = best.auc, best.balanced_accuracy
    return found


def trends(table: np.ndarray) -> tuple[float, float]:
    """The rank correlation of a table [N, T] with N, the mean over T, and with T, the mean over N."""
    with_n = [spearmanr(COUNTS, column)[0] for column in table.T]
    with_t = [spearmanr(STEPS, row)[0] for row in table]
    return float(np.mean(with_n)), float(np.mean(with_t))


def direction(correlations: Sequence[float]) -> str:
    """In words: whether all fall with N and with T, and how much."""
    if max(correlations) >= 0:
        return "do not all fall with N and with T"
    if max(correlations) < -words.CLEAR:
        return "fall with N and with T"
    return f"fall with N and with T, but weakly (not all below {-words.CLEAR})"


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    values = 100 * np.mean([measured(bench) for bench in benches], axis=0)
    aucs, accuracies = values[..., 0], values[..., 1]
    rows = [
        [str(count), *(f"{auc:.1f} / {accuracy:.1f}" for auc, accuracy in zip(*row, strict=True))]
        for count, *row in zip(COUNTS, aucs, accuracies, strict=True)
    ]
    figures = {
        "heat": charts.heat(aucs, rows=COUNTS, columns=STEPS, y="N", x="T", label="AUC of the best of four attacks, %"),
        "lines": charts.lines(
            np.array(STEPS),
            {f"N = {count}": line for count, line in zip(COUNTS, aucs, strict=True)},
            x="T",
            y="AUC of the best of four attacks, %",
        ),
    }
    found = {name: trends(table) for name, table in (("AUC", aucs), ("accuracy", accuracies))}
    towards = direction([trend for of in found.values() for trend in of])
    shown = "; ".join(f"{name} with N {with_n:+.2f}, with T {with_t:+.2f}" for name, (with_n, with_t) in found.items())
    return Made(
        paper="AUC and accuracy fall with N and with T",
        ours=f"rank correlation of {shown}",
        says=f"AUC and accuracy {towards}: rank correlation of {shown}",
        tables=[
            Table(
                "AUC / accuracy of the best of four attacks in per cent, scenario 1.",
                ["N", *(f"T = {step}" for step in STEPS)],
                rows,
            )
        ],
        figures=figures,
        notes=[
            words.JUDGED[THRESHOLDS],
            "Rank correlations are means over the columns, or over the rows, of the table. One that is not below "
            f"{-words.CLEAR} is weak.",
        ],
    )


ITEM = Item(
    "Figure 11: the number of reconstructions and the step",
    ("undefended",),
    make,
    of=words.NOT_KNOWN,
    counts=words.scored,
    cases=cases,
)
