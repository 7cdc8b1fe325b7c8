"""Progress bars: of several processes at one piece of work, one shows it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

from common.runtime import distributed


def bar(*, total: int, unit: str, desc: str, initial: int = 0, shown: bool = True) -> tqdm:
    """A bar on standard error, on the line of this process; ``shown`` false counts in silence."""
    line, inside = distributed.local_rank(), _inside.get()
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
def outer(*, total: int, unit: str, desc: str) -> Iterator[tqdm]:
    """A bar over work that has bars of its own, which within the block stand below it and go when they are full.

    Inside another such bar it counts in silence.
    """
    with tqdm(total=total, unit=unit, desc=desc, position=2 * distributed.local_rank(), disable=_inside.get()) as bar:
        token = _inside.set(True)
        try:
            yield bar
        finally:
            _inside.reset(token)
