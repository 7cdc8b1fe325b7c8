"""Figure 6: expected calibration error, undefended, in the three scenarios, and of HAMP."""

from collections.abc import Sequence

from common.evaluation.record import UnderProtocol
from common.paper import words
from common.paper.bench import HELD, Bench, Case, mean
from common.paper.interface import Item, Made, Table
from common.paper.table3 import SCENARIOS, case, scenarios
from common.reports import charts
from common.reports.paper import Paper

DEFENSES = ("undefended", "hamp")


def _error(parts: Sequence[UnderProtocol]) -> float:
    return mean([part.utility.calibration_error.value for part in parts if part.utility is not None])


def cases(bench: Bench) -> list[Case]:
    return [case(bench, name, HELD) for name in DEFENSES]


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    found = [scenarios(bench, "undefended", HELD) for bench in benches]
    of_hamp = _error([scenarios(bench, "hamp", HELD)[0].without for bench in benches])
    ours = [_error([of[0].without for of in found])]
    ours += [_error([of[place].fenced for of in found]) for place in range(len(SCENARIOS))]
    reported = [paper.figure6.undefended, *paper.figure6.scenarios]
    names = ["undefended", *(f"Diffence, scenario {number}" for number in SCENARIOS)]
    hamp_reported = paper.figure6.undefended * (1 + paper.figure6.hamp_is_higher / 100)
    rows = [[name, f"{theirs:.3f}", f"{mine:.3f}"] for name, theirs, mine in zip(names, reported, ours, strict=True)]
    rows.append(
        ["HAMP", f"{hamp_reported:.3f} (222 % higher)", f"{of_hamp:.3f} ({100 * (of_hamp / ours[0] - 1):.0f} %)"]
    )
    return Made(
        paper=" / ".join(f"{value:.3f}" for value in reported),
        ours=" / ".join(f"{value:.3f}" for value in ours),
        says=f"the calibration error changes by {_changes(ours[0], ours[1:])} in scenarios 1, 2 and 3 (paper: "
        f"{_changes(reported[0], reported[1:])}), and with HAMP by {_changes(ours[0], [of_hamp])} (paper: "
        f"{paper.figure6.hamp_is_higher:+.0f} %)",
        tables=[Table("Expected calibration error on non-members, 15 bins.", ["answers of", "paper", "here"], rows)],
        figures={
            "": charts.bars(
                [*names, "HAMP"],
                {"here": [*ours, of_hamp]},
                marks={"paper": [*reported, hamp_reported]},
                label="expected calibration error",
            )
        },
        notes=[words.JUDGED[HELD], "HAMP's test-time step is on here and off in the paper."],
    )


def answered(bench: Bench) -> str:
    """How many samples the error is of."""
    _, count = words.final_test(bench)
    return f"{words.members(bench)} The calibration error is of answers to {count:,} non-members."


def _changes(before: float, after: Sequence[float]) -> str:
    return ", ".join(f"{100 * (value / before - 1):+.0f} %" for value in after)


ITEM = Item("Figure 6: expected calibration error", DEFENSES, make, of=words.AVERAGED, cases=cases, counts=answered)
