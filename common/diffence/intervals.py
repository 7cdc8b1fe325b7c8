"""The interval for what the defender knows: candidates of known members and non-members in, two numbers out.

Everywhere phi is that of the candidates that keep the label, the raw one included.
"""

import itertools
import math

import numpy as np
import torch
from scipy.spatial.distance import jensenshannon

from common.diffence.rule import EVERYWHERE, Candidates, Interval, choose
from common.runtime.errors import UserError
from common.runtime.modes import SCENARIOS, Scenario

GRID_POINTS = 21  # interval ends: 20 steps
BINS = 100  # of the histograms
EMPTY_BIN = 1e-19  # histogram counts are clipped below at this


def tune_interval(members: Candidates, non_members: Candidates, *, scenario: Scenario) -> Interval:
    """The interval for one of the paper's scenarios, from all candidates of known members and non-members.

    members_and_non_members (1): the interval under which both look most alike. members_only (2): [min, mean] of their
    phi. neither (3): no selection is possible, and the first candidate that keeps the label answers.

    Raises UserError where the known samples allow no choice, and ValueError where their candidates were not all drawn
    or there is no such scenario.
    """
    if scenario == "neither":
        return EVERYWHERE
    _require_drawn(members)
    if scenario == "members_only":
        known = members.phi[members.keeps]
        least = float(known.min())
        return Interval(least, max(least, float(known.mean())))  # equal values have a mean that rounding lowers
    if scenario != "members_and_non_members":
        raise ValueError(f"scenario must be one of {', '.join(SCENARIOS.values())}, not {scenario!r}")
    _require_drawn(non_members)
    found = most_alike(members, non_members)
    if found is None:
        raise UserError(
            "no interval makes the known members and non-members look alike at all: their confidences "
            "do not overlap. Give more known samples (--num-sample) or use --scenario 2"
        )
    return found


def most_alike(members: Candidates, non_members: Candidates) -> Interval | None:
    """The interval of the least Jensen-Shannon distance between the answers to members and to non-members.

    Of all pairs of a grid between the least phi of members and the greatest of non-members; of equally good ones the
    first by lower and then by upper end. None where no interval says anything.
    """
    phi, keeps = (torch.cat([getattr(kind, name) for kind in (members, non_members)]) for name in ("phi", "keeps"))
    least, greatest = float(members.phi[members.keeps].min()), float(non_members.phi[non_members.keeps].max())
    if least >= greatest:
        return None
    grid = np.linspace(least, greatest, GRID_POINTS).tolist()
    intervals = [Interval(*ends) for ends in itertools.combinations(grid, 2)]
    answered = (phi.gather(1, choose(phi, keeps, interval)[:, None])[:, 0].numpy() for interval in intervals)
    distances = distance_of(np.stack([histograms(values, len(members)) for values in answered]))
    best = int(distances.argmin())
    return None if distances[best] == math.inf else intervals[best]


def histograms(answered: np.ndarray, members: int) -> np.ndarray:
    """Counts [2, BINS] of phi of the answers to so many members, and to the non-members after them.

    The bins are equal, from the least to the greatest of the non-members. Where these are too close together to be cut
    into bins the counts are zero.
    """
    lo, hi = answered[members:].min(), answered[members:].max()
    if not hi - lo > BINS * np.spacing(max(abs(lo), abs(hi))):
        return np.zeros((2, BINS))
    return np.stack([np.histogram(part, BINS, (lo, hi))[0] for part in np.split(answered, [members])])


def distance_of(counts: np.ndarray) -> np.ndarray:
    """Jensen-Shannon distances [m] of pairs of histograms [m, 2, BINS], infinite where no member falls into a bin.

    (There the published code has a NaN, which it then prefers.)
    """
    distances = jensenshannon(*np.clip(counts, EMPTY_BIN, None).swapaxes(0, 1), axis=1)
    return np.where(counts[:, 0].any(axis=1), distances, math.inf)


def _require_drawn(candidates: Candidates) -> None:
    if (candidates.drawn < candidates.count).any():
        raise ValueError("the interval depends on all candidates, and some were not drawn")
