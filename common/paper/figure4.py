"""Figure 4: phi of members' and non-members' answers, alone and in the three scenarios."""

from collections.abc import Sequence

import numpy as np

from common.paper import words
from common.paper.bench import HELD, Bench
from common.paper.interface import Item, Made
from common.paper.table3 import SCENARIOS
from common.reports import charts
from common.reports.paper import Paper
from common.runtime.subject import Subject
from common.statistics import roc


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    figures, aucs = {}, []
    for bench in benches:
        panels: dict[str, np.ndarray] = {}
        for number in SCENARIOS:
            drawn = bench.drawn(Subject(), HELD, bench.fence(scenario=number))
            role = drawn.roles[HELD.test]
            if not panels:
                panels["without Diffence"] = role.answered(None).phi
            panels[f"scenario {number}"] = role.answered(drawn.rule).phi
        figures[bench.name] = charts.histograms(panels, role.member, label="phi of the answer")
        aucs.append([roc.auc(values, role.member) for values in panels.values()])
    alone, *fenced = np.mean(aucs, axis=0)
    shown = ", ".join(f"{value:.3f}" for value in fenced)
    return Made(
        paper="distributions, no number",
        ours=f"AUC of phi {alone:.3f} without; {shown} in scenarios 1, 2, 3",
        says=f"phi alone tells members from others {said(alone, fenced)}",
        figures=figures,
        notes=["The interval is tuned on samples that are not shown.", words.fence(benches)],
    )


def said(alone: float, fenced: Sequence[float]) -> str:
    """Of the AUCs of phi without a fence, and in each scenario."""
    before, *away = (abs(value - 0.5) for value in (alone, *fenced))
    less = "less" if max(away) < before else "not always less"
    if 100 * (max(away) - min(away)) < words.ALIKE:
        return f"{less} behind Diffence, in the three scenarios alike"
    return f"{less} behind Diffence, in scenario {1 + int(np.argmin(away))} the least"


ITEM = Item("Figure 4: phi of members and non-members", ("undefended",), make, of="CIFAR-100", counts=words.shown)
