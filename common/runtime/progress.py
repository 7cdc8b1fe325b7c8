"""Progress bars: of several processes at one piece of work, one shows it."""

from tqdm import tqdm

from common.runtime import distributed


def bar(*, total: int, unit: str, desc: str, initial: int = 0, shown: bool = True) -> tqdm:
    """A bar on standard error, on the line of this process; ``shown`` false counts in silence."""
    return tqdm(
        total=total, initial=initial, unit=unit, desc=desc, position=distributed.local_rank(), disable=not shown
    )
