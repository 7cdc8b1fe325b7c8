"""Scenario 1 of Diffence: the interval under which the answers to known members and non-members look most alike.

Of all intervals between two points of a grid it is the one of the least Jensen-Shannon distance between the histograms
of both. Arrays of phi go in, the keepers [n, N + 1]: phi of every candidate that keeps the raw label, the raw one last,
and NaN for the others. The intervals that end at the same point of the grid are looked at together.
"""

import math
from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import jensenshannon

GRID_POINTS = 21  # interval ends: 20 steps
BINS = 100  # of the histograms
EMPTY_BIN = 1e-19  # histogram counts are clipped below at this


def most_alike(members: np.ndarray, non_members: np.ndarray) -> tuple[float, float] | None:
    """The interval for the keepers of both kinds, [n, N + 1] and [m, N + 1]; None where no interval says anything."""
    least, greatest = np.nanmin(members), np.nanmax(non_members)
    if least >= greatest:
        return None
    grid = np.linspace(least, greatest, GRID_POINTS)
    distances = all_distances(members, non_members, grid)
    lo, hi = np.unravel_index(distances.argmin(), distances.shape)
    return None if distances[lo, hi] == math.inf else (float(grid[lo]), float(grid[hi]))


def all_distances(members: np.ndarray, non_members: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The distance under [grid[a], grid[b]] at [a, b], infinite where a >= b or the histograms say nothing.

    [n, N + 1], [m, N + 1], increasing points [P] -> float64 [P, P], from 0 to sqrt(log 2)
    """
    points = len(grid)
    counts = np.zeros((2, points, points, BINS))
    for b, answered in enumerate(answers(np.concatenate([members, non_members]), grid), start=1):
        counts[:, :b, b] = _histograms(answered, len(members))
    some = counts[0].any(axis=2)  # where no member falls into a bin, the published code's NaN, which it then prefers
    distances = np.full((points, points), math.inf)
    distances[some] = jensenshannon(*np.clip(counts[:, some], EMPTY_BIN, None), axis=1)
    return distances


def answers(keepers: np.ndarray, grid: np.ndarray) -> Iterator[np.ndarray]:
    """phi of what is answered under [grid[0], grid[b]] … [grid[b - 1], grid[b]], [b, n], for b = 1, 2 …

    Of each sample the first keeper inside the interval, and if there is none the one nearest to its middle, as
    ``diffence.select`` chooses. The grid cuts the line into cells: 2i is what lies between its points i - 1 and i, and
    2i + 1 is point i itself. So an interval is the cells 2a + 1 … 2b + 1: those of the one that ends a point earlier,
    and two more. Keepers go by number, place * n + row, so that the least number of a sample is its first keeper.
    """
    n, count = keepers.shape
    row = np.arange(n)
    keepers = np.where(np.isnan(keepers), math.inf, keepers)  # in no interval, and the nearest to nothing
    by_place = keepers.T.copy()
    cell = sum((by_place >= point).astype(np.int16) + (by_place > point) for point in grid)
    cell = cell.astype(np.int64) * n + row  # and row: numbers of a table [2 * points + 1, n]
    cells = (2 * len(grid) + 1, n)

    first = np.tile(count * n + row, (cells[0], 1))  # keeper in each cell, or N + 1, which is none
    for place in reversed(range(count)):
        first.ravel()[cell[place]] = place * n + row
    at = first[1::2]
    added = np.minimum(first[:-1:2], at)

    in_cell = np.bincount(cell.ravel(), minlength=math.prod(cells)).reshape(cells)
    up_to = in_cell.cumsum(axis=0)[1::2] + row * (count + 2)  # each point of the grid
    ordered = np.pad(np.sort(keepers), ((0, 0), (1, 1)), constant_values=(-math.inf, math.inf)).ravel()
    before, after = ordered[up_to], ordered[up_to + 1]  # where none is at the point itself, the last and the first one

    held = at.copy()
    phi = np.pad(by_place, ((0, 1), (0, 0)), constant_values=math.nan).ravel()
    for b in range(1, len(grid)):
        np.minimum(held[:b], added[b], out=held[:b])
        answered = phi.take(held[:b])
        none = np.flatnonzero(np.isnan(answered))
        a, of = np.divmod(none, n)
        middle = ((grid[:b] + grid[b]) / 2)[a]
        answered.ravel()[none] = _nearest(keepers, of, middle, before.ravel()[none], after[b, of])
        yield answered


def _nearest(
    keepers: np.ndarray, row: np.ndarray, middle: np.ndarray, before: np.ndarray, after: np.ndarray
) -> np.ndarray:
    """Of the keepers before and after intervals that hold none of those rows, the nearer to the middle: [len(row)].

    If they are equally near, that of the first place.
    """
    nearest = np.where(middle - before < after - middle, before, after)
    tied = np.flatnonzero(middle - before == after - middle)
    place = np.abs(keepers[row[tied]] - middle[tied, None]).argmin(axis=1)
    nearest[tied] = keepers[row[tied], place]
    return nearest


def _histograms(answered: np.ndarray, members: int) -> np.ndarray:
    """Counts [2, b, BINS] of the answers [b, n] of so many members, and of the non-members after them.

    The bins are equal, from the least to the greatest of the non-members, both ends included. Where these are too close
    together to be cut into bins the counts are zero.
    """
    lo, hi = answered[:, members:].min(axis=1), answered[:, members:].max(axis=1)
    wide = hi - lo > BINS * np.spacing(np.maximum(abs(lo), abs(hi)))
    place = answered - lo[:, None]
    place /= np.where(wide, hi - lo, 1)[:, None]
    place *= BINS
    place -= place == BINS
    np.floor(place, out=place)
    bins = np.clip(place, -1, BINS, out=place).astype(np.int32)
    columns = BINS + 2  # the first and the last for what lies outside
    start = columns * np.arange(2 * len(answered), dtype=np.int32).reshape(2, -1, 1) + 1
    bins[:, :members] += start[0]
    bins[:, members:] += start[1]
    counts = np.bincount(bins.ravel(), minlength=2 * len(answered) * columns).reshape(2, -1, columns)
    return counts[:, :, 1:-1] * wide[:, None]
