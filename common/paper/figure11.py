"""Figure 11: AUC and accuracy for other numbers of reconstructions N and other steps T."""

from collections.abc import Sequence

import numpy as np

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
            [THRESHOLDS],
            [bench.fence(scenario=1, step=step, num_candidates=count) for count in COUNTS],
        )
        for step in STEPS
    ]


def measured(bench: Bench) -> np.ndarray:
    """AUC and accuracy of the best attack, by N and T: float64 [len(COUNTS), len(STEPS), 2]."""
    found = np.empty((len(COUNTS), len(STEPS), 2))
    for column, case in enumerate(cases(bench)):
        for row, judged in enumerate(case.judged()[0]):
            best = judged.fenced.best
            found[row, column] = best.auc, best.balanced_accuracy
    return found


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
    with_n = float((aucs[-1] - aucs[0]).mean())
    with_t = float((aucs[:, -1] - aucs[:, 0]).mean())
    return Made(
        paper="both fall with T and with N",
        ours=f"from N = 2 to 50 {with_n:+.1f} points of AUC, from T = 40 to 260 {with_t:+.1f}",
        says="the AUC falls with N and with T" if max(with_n, with_t) < 0 else "the AUC does not fall with both",
        tables=[
            Table(
                "AUC / accuracy of the best of four attacks in per cent, scenario 1.",
                ["N", *(f"T = {step}" for step in STEPS)],
                rows,
            )
        ],
        figures=figures,
        notes=["Attacks that compare with a threshold; the NN attack is left out."],
    )


ITEM = Item("Figure 11: the number of reconstructions and the step", ("undefended",), make, cases=cases)
