"""Distance to the boundary: members lie further from images of another label (Choquette-Choo et al., ICML 2021)."""

import numpy as np

from common.attacks.interface import Attack, CannotRun, Fitting, Needs
from common.attacks.observations import Observations
from common.statistics import roc


def distances(observations: Observations) -> np.ndarray:
    """The distance of images that are answered rightly, and 0 of others: float64 [n], NaN where it was not searched."""
    assert observations.boundary is not None
    return np.where(observations.correct | np.isnan(observations.boundary), observations.boundary, 0.0)


def fit(observations: Observations, fitting: Fitting) -> float:
    """The threshold of greatest balanced accuracy."""
    values, member = distances(observations), observations.membership
    searched = np.isfinite(values)
    if len(np.unique(member[searched])) < 2:
        raise CannotRun("needs searched members and non-members to be fitted on")
    return roc.best_threshold(values[searched], member[searched])


def scores(threshold: float, observations: Observations) -> np.ndarray:
    """float64 [n], NaN where the distance was not searched."""
    return distances(observations) - threshold


ATTACK = Attack(
    name="boundary",
    source="Choquette-Choo et al., ICML 2021; HopSkipJump: Chen, Jordan and Wainwright, S&P 2020",
    needs=Needs(queries={"image": 1}, boundary=True),
    fit=fit,
    scores=scores,
    sees="label",
)
