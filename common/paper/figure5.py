"""Figure 5: the best attack against every defence, alone and behind Diffence in scenario 1, as bars."""

from collections.abc import Sequence

from common.paper import words
from common.paper.bench import AS_PUBLISHED, Bench, Case
from common.paper.interface import Item, Made
from common.paper.table3 import DEFENSES, best, case, scenarios
from common.reports import charts
from common.reports.paper import Paper


def cases(bench: Bench) -> list[Case]:
    return [case(bench, name, AS_PUBLISHED) for name in DEFENSES]


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    found = {name: [scenarios(bench, name, AS_PUBLISHED)[0] for bench in benches] for name in DEFENSES}
    alone = {name: best([each.without for each in of]) for name, of in found.items()}
    fenced = {name: best([each.fenced for each in of]) for name, of in found.items()}
    figures = {}
    for place, what in enumerate(("AUC", "accuracy")):
        figures[what.lower()] = charts.bars(
            DEFENSES,
            {
                "alone, here": [alone[name][place] for name in DEFENSES],
                "with Diffence, here": [fenced[name][place] for name in DEFENSES],
            },
            marks={
                "alone, paper": [paper.table3[name].without[place] for name in DEFENSES],
                "with Diffence, paper": [paper.table3[name].scenarios[0][place] for name in DEFENSES],
            },
            label=f"{what} of the best attack, %",
            floor=50,
        )
    lower = [name for name in DEFENSES if fenced[name][0] < alone[name][0]]
    fallen = words.means({name: words.share(alone[name][0], fenced[name][0]) for name in DEFENSES})
    theirs = {name: words.share(row.without[0], row.scenarios[0][0]) for name, row in paper.table3.items()}
    return Made(
        paper=f"AUC {words.falls_and(*words.means(theirs))} on the mean",
        ours=f"AUC {words.falls_and(*fallen)} on the mean",
        says=f"behind Diffence the best attack's AUC is lower on {len(lower)} of {len(DEFENSES)} classifiers. On the "
        f"mean it {words.falls_and(*fallen)}, whose test-time step is on here and off in the paper",
        figures=figures,
        notes=[
            words.fence(benches),
            words.JUDGED[AS_PUBLISHED],
            words.RECIPES,
            "The paper's bars are by dataset; its averages of table III stand here as marks.",
        ],
    )


ITEM = Item(
    "Figure 5: the best attack against every defence, scenario 1",
    DEFENSES,
    make,
    of=words.AVERAGED,
    cases=cases,
    counts=words.scored_as_published,
)
