"""Times, and the rows of the table."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, and what was to be reached."""

    what: str
    plain: str
    here: str
    ratio: str
    target: str = ""

    def __str__(self) -> str:
        return f"{self.what:<66}{self.plain:>12}{self.here:>12}{self.ratio:>10}   {self.target}"


def compared(what: str, *, plain: float, here: float, target: str) -> Row:
    """Two times in seconds, and how many times faster the second is."""
    return Row(what, f"{plain:.3g} s", f"{here:.3g} s", f"{plain / here:.1f} x", target)


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
