"""Table III: the best attack against every defence, alone and in the three scenarios."""

from collections.abc import Sequence

from common.evaluation.protocols import Protocol
from common.evaluation.record import UnderProtocol
from common.paper import words
from common.paper.bench import AS_PUBLISHED, HELD, Bench, Case, Judged, mean
from common.paper.interface import Item, Made, Table
from common.reports.paper import Paper, Table3Row
from common.runtime.subject import Subject

SCENARIOS = (1, 2, 3)
DEFENSES = ("undefended", "selena", "advreg", "hamp", "relaxloss", "dpsgd", "memguard")
READING = {
    AS_PUBLISHED: "As the paper's code judges (thresholds in hindsight, intervals tuned on scored samples)",
    HELD: f"The same attacks with {words.HELD_OUT}",
}


def case(bench: Bench, defense: str, protocol: Protocol) -> Case:
    """A defence in the three scenarios."""
    return Case(bench, Subject(defense=defense), protocol, [bench.fence(scenario=number) for number in SCENARIOS])


def cases(bench: Bench) -> list[Case]:
    """The dearer protocol first, so that processes end at about the same time."""
    return [case(bench, defense, protocol) for protocol in READING for defense in DEFENSES]


def scenarios(bench: Bench, defense: str, protocol: Protocol) -> list[Judged]:
    """Verdicts in the three scenarios."""
    return case(bench, defense, protocol).judged()


def best(parts: Sequence[UnderProtocol]) -> tuple[float, float]:
    """AUC and balanced accuracy of the best attack, per cent, averaged over datasets."""
    return 100 * mean([part.best.auc for part in parts]), 100 * mean([part.best.balanced_accuracy for part in parts])


def both(values: Sequence[float]) -> str:
    return f"{values[0]:.1f} / {values[1]:.1f}"


def _row(benches: Sequence[Bench], defense: str, protocol: Protocol, paper: Paper) -> list[str]:
    found = [scenarios(bench, defense, protocol) for bench in benches]
    undefended = [scenarios(bench, "undefended", protocol)[0] for bench in benches]
    reported = paper.table3[defense]
    gained = mean([_accuracy(mine[0]) - _accuracy(other) for mine, other in zip(found, undefended, strict=True)])
    cells = [f"{reported.test_accuracy:+.1f}", f"{gained:+.1f}"]
    cells += [both(reported.without), both(best([of[0].without for of in found]))]
    for place in range(len(SCENARIOS)):
        cells += [both(reported.scenarios[place]), both(best([of[place].fenced for of in found]))]
    return [defense, *cells]


def _accuracy(judged: Judged) -> float:
    assert judged.without.accuracy is not None
    return 100 * judged.without.accuracy.test


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    header = ["defence", "test accuracy: paper", "here", "without: paper", "here"]
    for number in SCENARIOS:
        header += [f"scenario {number}: paper", "here"]
    tables = [
        Table(
            f"{reading}: AUC / accuracy of the best attack in per cent, and test accuracy against the "
            "undefended classifier's in points.",
            header,
            [_row(benches, defense, protocol, paper) for defense in DEFENSES],
        )
        for protocol, reading in READING.items()
    ]
    reported = paper.table3["undefended"]
    found = [scenarios(bench, "undefended", AS_PUBLISHED)[0] for bench in benches]
    alone, fenced = (best([getattr(each, side) for each in found]) for side in ("without", "fenced"))
    fall, theirs = (words.share(before, after) for before, after in ((alone[0], fenced[0]), _aucs(reported)))
    return Made(
        paper=f"{both(reported.without)} -> {both(reported.scenarios[0])}",
        ours=f"{both(alone)} -> {both(fenced)}",
        says=f"in scenario 1 the best attack's AUC on the undefended classifier {words.falls(fall)} "
        f"(paper: {words.falls(theirs)})",
        tables=tables,
        notes=[
            words.fence(benches),
            words.RECIPES,
            "The fence noises as DDPM does, which the paper's code does not (docs/differences.md).",
            "On SVHN the paper has LiRA among the attacks; here shadow models are figure 7's.",
        ],
    )


def counts(bench: Bench) -> str:
    """How many samples both tables are of."""
    roles = bench.experiment.partition.published_roles(bench.experiment.evaluation_config.num_sample)
    test, first = words.final_test(bench), roles[AS_PUBLISHED.accuracy_on]
    return (
        f"{words.scored_as_published(bench)} In the second table all are scored on "
        f"{words.counts(*test, called='members')}. Test accuracy is that on {len(first.non_members):,} "
        f"non-members in the first table and on {test[1]:,} in the second, so the tables differ in it."
    )


def _aucs(reported: Table3Row) -> tuple[float, float]:
    """Without Diffence, and in scenario 1."""
    return reported.without[0], reported.scenarios[0][0]


ITEM = Item(
    "Table III: the best attack against every defence", DEFENSES, make, of=words.AVERAGED, cases=cases, counts=counts
)
