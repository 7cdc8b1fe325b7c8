"""Table VIII: how long training takes."""

from collections.abc import Sequence

from common.paper.bench import Bench, mean
from common.paper.interface import Item, Made, Table
from common.paper.table3 import DEFENSES
from common.reports.paper import Paper
from common.runtime.subject import Subject
from common.training.jobs import last_seconds

NOTHING = "-"


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    tables, ratios, slowest = [], [], set()
    for bench in benches:
        folder = bench.experiment.folder
        seconds = {name: last_seconds(folder.classifier(Subject(defense=name))) for name in DEFENSES}
        plain = seconds["undefended"]
        rows = []
        for name, took in seconds.items():
            reported = paper.table8.get(name, {})
            theirs = mean([*reported.values()]) / mean([*paper.table8["undefended"].values()]) if reported else None
            ratio = took / plain if took is not None and plain else None
            hours = " / ".join(f"{value:.1f}" for value in reported.values()) or NOTHING
            rows.append([name, hours, _times(theirs), _seconds(took), _times(ratio)])
            if name == "selena" and ratio:
                ratios.append(ratio)
        known = {name: took for name, took in seconds.items() if took is not None}
        slowest.add(max(known, key=known.__getitem__, default=NOTHING))
        diffusion = last_seconds(folder.ddpm)
        rows.append(["diffusion model", NOTHING, NOTHING, _seconds(diffusion), NOTHING])
        header = ["defence", "paper, hours on three datasets", "of undefended", "here, seconds", "of undefended"]
        tables.append(Table(f"{bench.name}: time of training.", header, rows))
    times = mean([*paper.table8["selena"].values()]) / mean([*paper.table8["undefended"].values()])
    ours = f"{mean(ratios):.1f} times" if ratios else NOTHING
    return Made(
        paper=f"SELENA {times:.1f} times undefended",
        ours=f"SELENA {ours} undefended",
        says=f"{' or '.join(sorted(slowest))} takes longest to train (paper: selena and advreg)",
        tables=tables,
        notes=["Seconds are what each training wrote down, SELENA's with its teachers', on whatever machine that was."],
    )


def _times(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f} x"


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f}"


ITEM = Item("Table VIII: training time", DEFENSES, make, of="CIFAR-10, CIFAR-100 and SVHN")
