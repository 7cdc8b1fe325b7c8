"""Table V: milliseconds a sample, alone and behind Diffence, one at a time and in batches."""

from collections.abc import Sequence

import torch

from common.evaluation.latency import milliseconds
from common.paper.bench import HELD, Bench, mean
from common.paper.interface import Item, Made, Table
from common.paper.table3 import DEFENSES
from common.reports.paper import Paper
from common.runtime.images import to_float
from common.runtime.subject import Subject

SAMPLES, BATCH = 100, 100
NOTHING = "-"


def _times(bench: Bench, defense: str) -> list[float]:
    """One at a time alone and fenced, then the same in batches."""
    subject, fence = Subject(defense=defense), bench.fence(scenario=1)
    models = bench.models(subject)
    rule = bench.drawn(subject, HELD, fence, models=models).rule
    guard = bench.population(subject, fence, models=models).bank.fence
    guard.rule = rule
    order = torch.from_numpy(bench.experiment.partition.test_order[:SAMPLES])
    images = to_float(bench.experiment.population.test.images[order].to(bench.experiment.device))
    return [
        milliseconds(answer, images, batch=size)
        for size in (1, BATCH)
        for answer in (models.defended.classifier, guard)
    ]


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    tables, first = [], []
    for bench in benches:
        rows = []
        for defense in DEFENSES:
            alone, fenced, in_batches, fenced_in_batches = _times(bench, defense)
            if defense == "undefended":
                first.append((alone, fenced))
            times = [f"{value:.2f}" for value in (alone, fenced, in_batches, fenced_in_batches)]
            theirs = [_reported(paper, defense), _reported(paper, "diffence" if defense == "undefended" else None)]
            rows.append([defense, *theirs, *times])
        header = [
            "defence",
            "paper, on three datasets, alone",
            "paper, with Diffence",
            "alone",
            "with Diffence",
            f"alone, batches of {BATCH}",
            "with Diffence",
        ]
        where = f"{bench.experiment.device}, {_threads(torch.get_num_threads())}"
        tables.append(Table(f"{bench.name}: ms a sample, the mean of {SAMPLES}, on {where}.", header, rows))
    alone, fenced = (mean(values) for values in zip(*first, strict=True))
    before, behind = (list(paper.table5[name].values()) for name in ("undefended", "diffence"))
    return Made(
        paper=f"{_range(before)} ms -> {_range(behind)} ms (RTX 8000)",
        ours=f"{alone:.1f} ms -> {fenced:.1f} ms",
        says=f"one answer takes {fenced / alone:.1f} times as long with Diffence (paper: "
        f"{mean(behind) / mean(before):.1f})",
        tables=tables,
        notes=[
            "The fence draws until a reconstruction is accepted, so its time depends on the image.",
            "The paper's times are of CIFAR-10, CIFAR-100 and SVHN, in this order, on an RTX 8000.",
        ],
    )


def _reported(paper: Paper, name: str | None) -> str:
    """The paper's times on its datasets."""
    return " / ".join(f"{value:.0f}" for value in paper.table5.get(name or "", {}).values()) or NOTHING


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.0f} to {max(values):.0f}"


ITEM = Item("Table V: inference time", DEFENSES, make, of="CIFAR-10, CIFAR-100 and SVHN", timed=True)
