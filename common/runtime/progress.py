"""How work tells how far it is: bars on a terminal, elsewhere a line a minute; of several processes one may speak."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, Self

from tqdm import tqdm

from common.runtime import distributed

EVERY = 60.0  # seconds between two lines
TERMINAL = "DIFFENCE_TERMINAL"  # in the environment of a program whose output goes through a pipe to a terminal


class Bar(Protocol):
    """What shows the work, whichever it is; as a context it is closed at the end."""

    def update(self, n: int = 1, /) -> Any: ...
    def set_postfix(self, ordered_dict: Mapping[str, Any], /) -> Any: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: Any) -> Any: ...


class Lines:
    """Progress for logs: a line a minute, with what is done, the rate and the time left; and a last one.

    brief:  work inside other work: it has a last line only if it has had others
    """

    def __init__(self, *, total: int, initial: int, unit: str, desc: str, shown: bool, brief: bool) -> None:
        self.total, self.initial, self.done, self.unit, self.desc = total, initial, initial, unit, desc
        self.shown, self.brief, self.extra = shown, brief, ""
        self.start = self.last = time.monotonic()

    def update(self, n: int = 1, /) -> None:
        self.done += n
        if time.monotonic() - self.last >= EVERY:
            self._say()
            self.brief = False

    def set_postfix(self, measured: Mapping[str, Any], /) -> None:
        self.extra = "".join(f", {name} {value}" for name, value in measured.items())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if not self.brief:
            self._say()

    def _say(self) -> None:
        self.last = time.monotonic()
        if self.shown:
            line = told(self.done, self.total, self.last - self.start, initial=self.initial, unit=self.unit)
            print(f"{self.desc}: {line}{self.extra}", file=sys.stderr, flush=True)


def told(done: int, total: int, seconds: float, *, initial: int, unit: str) -> str:
    """How far it is, how fast it went from ``initial`` on, and how long the rest will take.

    >>> told(30, 120, 15.0, initial=0, unit="step")
    '30/120 step, 2 step/s, 00:45 left'
    >>> told(4, 4, 480.0, initial=2, unit="teacher")
    '4/4 teacher, 240 s/teacher, after 08:00'
    """
    rate = (done - initial) / seconds if seconds > 0 else 0.0
    speed = f"{rate:.3g} {unit}/s" if rate >= 1 else f"{1 / rate:.3g} s/{unit}" if rate else f"no {unit} yet"
    if done >= total:
        return f"{done}/{total} {unit}, {speed}, after {tqdm.format_interval(seconds)}"
    left = f"{tqdm.format_interval((total - done) / rate)} left" if rate else "time left unknown"
    return f"{done}/{total} {unit}, {speed}, {left}"


def on_terminal() -> bool:
    """Whether standard error ends on a terminal, where a line can be written over."""
    return sys.stderr.isatty() or TERMINAL in os.environ


def bar(*, total: int, unit: str, desc: str, initial: int = 0, shown: bool = True) -> Bar:
    """On standard error, on a terminal on the line of this process; ``shown`` false counts in silence."""
    line, inside = distributed.local_rank(), _inside.get()
    if not on_terminal():
        return Lines(total=total, initial=initial, unit=unit, desc=desc, shown=shown, brief=inside)
    return tqdm(
        total=total,
        initial=initial,
        unit=unit,
        desc=desc,
        position=2 * line + 1 if inside else line,
        leave=not inside,
        disable=not shown,
    )


_inside: ContextVar[bool] = ContextVar("inside another bar", default=False)


@contextmanager
def outer(*, total: int, unit: str, desc: str, shown: bool = True) -> Iterator[Bar]:
    """A bar over work that has bars of its own, which within the block stand below it and go when they are full.

    Inside another such bar it counts in silence.
    """
    shown, line = shown and not _inside.get(), 2 * distributed.local_rank()
    whole: Bar = (
        tqdm(total=total, unit=unit, desc=desc, position=line, disable=not shown)
        if on_terminal()
        else Lines(total=total, initial=0, unit=unit, desc=desc, shown=shown, brief=False)
    )
    with whole:
        token = _inside.set(True)
        try:
            yield whole
        finally:
            _inside.reset(token)
