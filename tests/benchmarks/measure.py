"""Times, and the rows of the table."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

MATRIX = 4096  # rows and columns of a large matrix product


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, and what was to be reached."""

    what: str
    plain: str
    here: str
    ratio: str
    target: str = ""

    def __str__(self) -> str:
        return f"{self.what:<84}{self.plain:>12}{self.here:>12}{self.ratio:>10}   {self.target}"


def compared(what: str, *, plain: float, here: float, target: str) -> Row:
    """Two times in seconds, and how many times faster the second is."""
    shown = [f"{float(f'{value:.3g}'):g}" for value in (plain, here, plain / here)]  # 1140 and not 1.14e+03
    return Row(what, f"{shown[0]} s", f"{shown[1]} s", f"{shown[2]} x", target)


def seconds(work: Callable[[], Any], *, repeat: int = 3, warm: bool = True) -> float:
    """The least of some runs, after one to warm up."""
    if warm:
        work()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def rate(what: str, work: Callable[[], Any], *, precision: str = "fp32", target: str = "") -> Row:
    """The rate of all matrix products and convolutions in some work, beside that of a large matrix product."""
    with FlopCounterMode(display=False) as counter:
        work()
    reached = counter.get_total_flops() / seconds(work)
    a = torch.randn(MATRIX, MATRIX, generator=torch.Generator().manual_seed(0))
    a = a.bfloat16() if precision == "bf16" else a
    peak = 2 * MATRIX**3 / seconds(lambda: a @ a)
    share = f"{100 * reached / peak:.0f} %"
    return Row(f"  rate of {what}, GFLOP/s", f"{peak / 1e9:.0f}", f"{reached / 1e9:.0f}", share, target)
