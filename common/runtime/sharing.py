"""Many pieces of work of one kind, shared out among the processes: a defence's teachers, a store's shadow models."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from common.runtime import distributed, progress

Piece = TypeVar("Piece")


def share_out(pieces: Sequence[Piece], work: Callable[[Piece], object], *, unit: str, desc: str) -> None:
    """Do each piece in exactly one process, which works at it by itself; return when every piece is done.

    A process takes the next piece when it is free, so the dearest come best first.
    """
    with progress.outer(total=len(pieces), unit=unit, desc=desc, shown=bool(pieces)) as bar:
        begun = 0
        for number in distributed.claims(len(pieces)):
            bar.update(number - begun)  # with those that others have taken
            begun = number
            with distributed.by_itself():
                work(pieces[number])
        bar.update(len(pieces) - begun)
