"""Where an answer lies in the fence's interval: outside it or not, on which side, how far from the ends.

The interval can be found out, since most answers lie in it; here the attacker is told.
"""

import numpy as np

from common.attacks import logistic, statistics
from common.attacks.interface import Needs
from common.attacks.observations import Observations


def edges(observations: Observations) -> np.ndarray:
    """float64 [n, 6]: below, above; distance from the lower end and the upper one, inside and outside.

    Zeros where there is no interval.
    """
    wanted = observations.wanted(observations.queries.index("image"))
    if wanted is None:
        return np.zeros((len(observations), 6))
    lo, hi = wanted
    phi = statistics.phi(observations.logits)
    below, above = phi < lo, phi > hi
    inside = ~(below | above)
    distances = [inside * (phi - lo), inside * (hi - phi), below * (lo - phi), above * (phi - hi)]
    return np.stack([below, above, *distances], axis=1).astype(np.float64)


ATTACK = logistic.attack("edges", edges, source="this project", needs=Needs())
