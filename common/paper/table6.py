"""Table VI: attacks that see labels alone."""

from collections.abc import Sequence
from dataclasses import replace

from common.evaluation.protocols import HELD_OUT
from common.paper import words
from common.paper.bench import Bench, Case, Judged, mean
from common.paper.interface import Item, Made, Table
from common.paper.table3 import DEFENSES
from common.reports.paper import Paper
from common.runtime.subject import Subject

PROTOCOL = replace(HELD_OUT, fitting=HELD_OUT.test, chosen=("correctness", "boundary"), chooses=False)
"""Nothing is fitted: an AUC needs no threshold, so the boundary of scored samples alone is searched."""
NOTHING = "-"
AS = {"memguard": "undefended"}  # whose labels it keeps, by construction: not searched twice


def cases(bench: Bench) -> list[Case]:
    return [
        Case(bench, Subject(defense=name), PROTOCOL, [bench.fence(scenario=1)]) for name in DEFENSES if name not in AS
    ]


def _boundary(found: Sequence[Judged], side: str) -> float | None:
    rows = [getattr(each, side).attacks.get("boundary") for each in found]
    return None if None in rows else 100 * mean([row.auc for row in rows if row is not None])


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    rows, notes, first, ends = [], set(), None, []
    by_name = {of[0].subject.defense: [case.only for case in of] for of in zip(*map(cases, benches), strict=True)}
    for defense in DEFENSES:
        found = by_name[AS.get(defense, defense)]
        gap = 100 * mean([each.without.attacks["correctness"].auc for each in found])  # of answers that are 0 or 1
        ends += [row.auc_ci for each in found for row in (each.without.attacks.get("boundary"),) if row is not None]
        sides = [_boundary(found, side) for side in ("without", "fenced")]
        notes |= {
            f"boundary: {reason}; then make the item again"
            for each in found
            for reason in each.without.not_run.values()
        }
        reported = paper.table6[defense]
        ours = [NOTHING if value is None else f"{value:.1f}" for value in sides]
        rows.append(
            [defense, f"{reported.gap:.1f}", f"{gap:.1f}", *(f"{value:.1f}" for value in reported.boundary), *ours]
        )
        first = first or (gap, ours[1])
    assert first is not None
    half = words.half_width(ends)
    sure = "" if half is None else f" (95 %: {half:.0f} points more or less)"
    few = [f"On so few the 95 % interval of a boundary AUC reaches {half:.0f} points each way."] if half else []
    header = ["defence", "gap: paper", "here", "boundary, without: paper", "with: paper", "without: here", "with: here"]
    return Made(
        paper=f"gap {paper.table6['undefended'].gap:.1f}, boundary {paper.table6['undefended'].boundary[1]:.1f}",
        ours=f"gap {first[0]:.1f}, boundary {first[1]}",
        says="Diffence keeps the classifier's labels, so who sees labels alone gets with it what he gets without: "
        f"{first[0]:.1f} of 100 by the gap on the undefended classifier, {first[1]} by the boundary{sure}",
        tables=[Table("Accuracy of the gap attack and AUC of the boundary attack, per cent.", header, rows)],
        notes=[
            *sorted(notes),
            words.RECIPES,
            f"The boundary is searched for {_searched(benches)} members and as many non-members of each dataset, by "
            "the labels of the classifier: with Diffence it is the same search, since labels are the same.",
            *few,
            "MemGuard keeps the undefended classifier's labels: its row is that one's, by construction.",
        ],
    )


def counts(bench: Bench) -> str:
    """How many samples the gap and the boundary are judged on."""
    return (
        f"{words.members(bench)} The gap is scored on {words.counts(*words.final_test(bench))}, the boundary on "
        f"{bench.experiment.evaluation_config.boundary.samples} and as many."
    )


def _searched(benches: Sequence[Bench]) -> str:
    return " and ".join(sorted({str(bench.experiment.evaluation_config.boundary.samples) for bench in benches}))


ITEM = Item("Table VI: label-only attacks", DEFENSES, make, of=words.AVERAGED, cases=cases, counts=counts)
