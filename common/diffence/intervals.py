"""The interval for what the defender knows: candidates of known members and non-members in, two numbers out.

Everywhere phi is that of the candidates that keep the label, the raw one included but where it is said otherwise.
"""

import itertools
import math

import numpy as np
import torch
from scipy.spatial.distance import jensenshannon

from common.diffence.rule import EVERYWHERE, Candidates, Interval
from common.runtime.errors import UserError
from common.runtime.modes import SCENARIOS, Criterion, Scenario

GRID_POINTS = 21  # interval ends: 20 steps
BINS = 100  # of the histograms
EMPTY_BIN = 1e-19  # histogram counts are clipped below at this


def tune_interval(
    members: Candidates,
    non_members: Candidates,
    *,
    scenario: Scenario,
    criterion: Criterion = "js",
    only_reconstructions: bool = False,
) -> Interval:
    """The interval for one of the paper's scenarios, from all candidates of known members and non-members.

    members_and_non_members (1): the interval under which both look most alike. members_only (2): [min, mean] of their
    phi. neither (3): no selection is possible, and the first candidate that keeps the label answers.

    criterion:             what is least in scenario 1, see ``most_alike``
    only_reconstructions:  the raw candidate's phi counts neither in scenario 2 nor in the ends of scenario 1's grid, as
                           in the published code; it may answer all the same

    Raises UserError where the known samples allow no choice, and ValueError where their candidates were not all drawn
    or there is no such scenario.
    """
    if scenario == "neither":
        return EVERYWHERE
    _require_drawn(members)
    if scenario == "members_only":
        known = _known(members, only_reconstructions)
        if len(known) == 0:
            raise UserError(
                "no reconstruction of a known member keeps its label: give more known samples (--num-sample)"
            )
        least = float(known.min())
        return Interval(least, max(least, float(known.mean())))  # equal values have a mean that rounding lowers
    if scenario != "members_and_non_members":
        raise ValueError(f"scenario must be one of {', '.join(SCENARIOS.values())}, not {scenario!r}")
    _require_drawn(non_members)
    found = most_alike(members, non_members, criterion=criterion, only_reconstructions=only_reconstructions)
    if found is None:
        raise UserError(
            "no interval makes the known members and non-members look alike at all: their confidences "
            "do not overlap. Give more known samples (--num-sample) or use --scenario 2"
        )
    return found


def most_alike(
    members: Candidates, non_members: Candidates, *, criterion: Criterion = "js", only_reconstructions: bool = False
) -> Interval | None:
    """The interval of the least distance between the answers to members and to non-members.

    Of all pairs of a grid between the least phi of members and the greatest of non-members; of equally good ones the
    first by lower and then by upper end. None where no interval says anything.

    criterion:  "js", the Jensen-Shannon distance of histograms, as the paper has it, or "ks", the Kolmogorov-Smirnov
                distance, which is the greatest TPR - FPR of any threshold
    """
    intervals, distances = compared(
        members, non_members, criterion=criterion, only_reconstructions=only_reconstructions
    )
    if not intervals:
        return None
    best = int(distances.argmin())
    return None if distances[best] == math.inf else intervals[best]


def compared(
    members: Candidates, non_members: Candidates, *, criterion: Criterion = "js", only_reconstructions: bool = False
) -> tuple[list[Interval], np.ndarray]:
    """All intervals of the grid, and the distance float64 [m] that each leaves; none where there is no grid."""
    phi, keeps = (torch.cat([getattr(kind, name) for kind in (members, non_members)]) for name in ("phi", "keeps"))
    of_members, of_others = (_known(kind, only_reconstructions) for kind in (members, non_members))
    if len(of_members) == 0 or len(of_others) == 0 or float(of_members.min()) >= float(of_others.max()):
        return [], np.empty(0)
    grid = np.linspace(float(of_members.min()), float(of_others.max()), GRID_POINTS).tolist()
    intervals = [Interval(*ends) for ends in itertools.combinations(grid, 2)]
    answered = np.stack([phi.gather(1, each.choose(phi, keeps)[:, None])[:, 0].numpy() for each in intervals])
    if criterion == "ks":
        return intervals, greatest_advantages(answered, len(members))
    return intervals, distance_of(np.stack([histograms(values, len(members)) for values in answered]))


def _known(candidates: Candidates, only_reconstructions: bool) -> torch.Tensor:
    """phi of the candidates that keep the label: float64 [m]."""
    last = -1 if only_reconstructions else None
    return candidates.phi[:, :last][candidates.keeps[:, :last]]


def greatest_advantages(answered: np.ndarray, members: int) -> np.ndarray:
    """Kolmogorov-Smirnov distances [m] of the answers [m, n] to so many members and to the non-members after them."""
    order = answered.argsort(axis=1, kind="stable")
    is_member = order < members
    share = np.where(is_member, 1 / members, -1 / (answered.shape[1] - members)).cumsum(axis=1)
    values = np.take_along_axis(answered, order, axis=1)
    ends = np.diff(values, axis=1, append=np.inf) > 0  # after the last of equal values
    return np.abs(np.where(ends, share, 0)).max(axis=1)


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
