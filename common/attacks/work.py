"""How many reconstructions the fence drew for an image and its near-copies, which the time of an answer tells."""

import numpy as np

from common.attacks import logistic
from common.attacks.interface import Needs
from common.attacks.observations import Observations

NEEDS = Needs(queries={"image": 1, "near_copy": 15})


def work(observations: Observations) -> np.ndarray:
    """Mean and spread, least and greatest, of the work and of its logarithm over the queries: float64 [n, 8]."""
    assert observations.work is not None
    drawn = observations.work[:, NEEDS.places(observations)]
    both = np.stack([drawn, np.log1p(drawn)], axis=-1)
    return np.hstack([both.mean(axis=1), both.std(axis=1), both.min(axis=1), both.max(axis=1)])


ATTACK = logistic.attack("work", work, source="this project: a timing side channel", needs=NEEDS, sees="work")
