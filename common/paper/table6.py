"""Table VI: attacks that see labels alone."""

from collections.abc import Sequence
from dataclasses import replace

from common.evaluation.protocols import HELD_OUT
from common.paper.bench import Bench, Judged, mean
from common.paper.interface import Item, Made, Table
from common.paper.table3 import DEFENSES
from common.reports.paper import Paper
from common.runtime.subject import Subject

PROTOCOL = replace(HELD_OUT, chosen=("correctness", "boundary"), chooses=False)
NOTHING = "-"
AS = {"memguard": "undefended"}  # whose labels it keeps, by construction: not searched twice


def _boundary(found: Sequence[Judged], side: str) -> float | None:
    rows = [getattr(each, side).attacks.get("boundary") for each in found]
    return None if None in rows else 100 * mean([row.auc for row in rows if row is not None])


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    rows, notes, gaps, first = [], set(), [], None
    for defense in DEFENSES:
        subject = Subject(defense=AS.get(defense, defense))
        found = [bench.judged(subject, PROTOCOL, [bench.fence(scenario=1)])[0] for bench in benches]
        gap = 100 * mean([each.without.attacks["correctness"].balanced_accuracy or 0.5 for each in found])
        sides = [_boundary(found, side) for side in ("without", "fenced")]
        notes |= {f"boundary: {reason}" for each in found for reason in each.without.not_run.values()}
        reported = paper.table6[defense]
        ours = [NOTHING if value is None else f"{value:.1f}" for value in sides]
        rows.append(
            [defense, f"{reported.gap:.1f}", f"{gap:.1f}", *(f"{value:.1f}" for value in reported.boundary), *ours]
        )
        gaps.append(gap)
        first = first or (gap, ours[1])
    assert first is not None
    header = ["defence", "gap: paper", "here", "boundary, without: paper", "with: paper", "without: here", "with: here"]
    return Made(
        paper=f"gap {paper.table6['undefended'].gap:.1f}, boundary {paper.table6['undefended'].boundary[1]:.1f}",
        ours=f"gap {first[0]:.1f}, boundary {first[1]}",
        says="Diffence keeps labels, so it takes nothing from those who see labels alone",
        tables=[Table("Accuracy of the gap attack and AUC of the boundary attack, per cent.", header, rows)],
        notes=[
            *sorted(notes),
            "The search for the boundary is on configs/evaluation.yaml's number of samples.",
            "MemGuard keeps the undefended classifier's labels: its row is that one's, by construction.",
        ],
    )


ITEM = Item("Table VI: label-only attacks", DEFENSES, make)
