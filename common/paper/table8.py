"""Table VIII: how long training takes."""

from collections.abc import Mapping, Sequence

from common.paper import words
from common.paper.bench import Bench, mean
from common.paper.interface import Item, Made, Table
from common.paper.table3 import DEFENSES
from common.reports.paper import Paper
from common.runtime.subject import Subject
from common.training.jobs import last_seconds

NOTHING = "-"


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    tables, ratios, slowest = [], [], {}
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
        slowest[bench.name] = max(known, key=known.__getitem__, default=NOTHING)
        diffusion = last_seconds(folder.ddpm)
        rows.append(["diffusion model", NOTHING, NOTHING, _seconds(diffusion), NOTHING])
        header = ["defence", "paper, hours on three datasets", "of undefended", "here, seconds", "of undefended"]
        tables.append(Table(f"{bench.name}: time of training.", header, rows))
    times = mean([*paper.table8["selena"].values()]) / mean([*paper.table8["undefended"].values()])
    ours = f"{mean(ratios):.1f} times" if ratios else NOTHING
    return Made(
        paper=f"SELENA {times:.1f} times undefended",
        ours=f"SELENA {ours} undefended",
        says=f"{_by_dataset(slowest)} takes longest to train (paper: {_by_dataset(_slowest(paper))})",
        tables=tables,
        notes=[
            "Seconds are what each training wrote down, SELENA's with its teachers', on whatever machine that was.",
            "MemGuard's come on top of the undefended classifier's, which it guards.",
        ],
    )


def _slowest(paper: Paper) -> dict[str, str]:
    """By the paper's datasets, what takes longest; those that take as long stand together."""
    found = {}
    for dataset in paper.table8["undefended"]:
        hours = {name: row[dataset] for name, row in paper.table8.items()}
        found[dataset] = words.listed([name for name, took in hours.items() if took == max(hours.values())])
    return found


def _by_dataset(slowest: Mapping[str, str]) -> str:
    """What takes longest, and on which datasets, where it is not the same on all."""
    datasets: dict[str, list[str]] = {}
    for dataset, name in slowest.items():
        datasets.setdefault(words.listed([name]), []).append(dataset)
    if len(datasets) == 1:
        return next(iter(datasets))
    return ", ".join(f"{name} on {words.listed(of)}" for name, of in datasets.items())


def _times(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f} x"


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f}"


ITEM = Item("Table VIII: training time", DEFENSES, make, of="CIFAR-10, CIFAR-100 and SVHN")
