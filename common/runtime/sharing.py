"""Many pieces of work of one kind, shared out among the processes: a defence's teachers, a store's shadow models."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from common.runtime import distributed, progress

Piece = TypeVar("Piece")


def share_out(pieces: Sequence[Piece], work: Callable[[Piece], object], *, unit: str, desc: str) -> None:
    """Do each piece in exactly one process, which works at it by itself; all return when every piece is done."""
    mine = pieces[distributed.share()]
    with progress.outer(total=len(mine), unit=unit, desc=desc, shown=bool(mine)) as bar:
        for piece in mine:
            with distributed.by_itself():
                work(piece)
            bar.update()
    distributed.barrier()
