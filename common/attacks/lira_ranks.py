"""LiRA on ranks: models differ in how sure they are of everything, and behind a fence each has a rule of its own.

So every model's answers are first put on one scale: phi of the true label becomes the normal score of its rank among
all samples that the model is asked about at once. For a sample the scores of models that were trained on it and that
were not are taken for normal, of one variance, as in LiRA (Carlini et al., S&P 2022); how far apart the two lie is
drawn towards the mean over all samples, by empirical Bayes, since few models say little of one sample.
"""

from functools import partial

import numpy as np
from scipy.stats import norm, rankdata

from common.attacks import statistics
from common.attacks.interface import Attack, Fitting, Needs
from common.attacks.lira import COPIES, LEAST_SD, over_models
from common.attacks.observations import Observations
from common.statistics import roc


def normal_scores(values: np.ndarray, *, axis: int) -> np.ndarray:
    """The normal quantiles of the ranks along an axis, of the same shape."""
    return norm.ppf((rankdata(values, axis=axis) - 0.5) / values.shape[axis])


def statistic(needs: Needs, observations: Observations) -> np.ndarray:
    """log N(score; in) - log N(score; out), summed over the queries as if they were independent: float64 [n].

    Raises CannotRun where a sample has no shadow model of a kind.
    """
    shadows, seen = observations.shadow_phi, observations.in_shadow
    assert shadows is not None and seen is not None
    places = needs.places(observations)
    phi = statistics.phi_of(observations.answers[:, places], observations.labels[:, None])
    found = normal_scores(phi, axis=0)  # [n, Q]
    known = normal_scores(shadows[:, :, places], axis=1)  # [S, n, Q]
    of_in, of_out = over_models(known, seen), over_models(known, ~seen)
    variance = (of_in.sd**2 + of_out.sd**2) / 2
    errors = variance * (1 / seen.sum(axis=0) + 1 / (~seen).sum(axis=0))[:, None]
    shift = shrunk(of_in.centre - of_out.centre, errors)
    return ((found - (of_in.centre + of_out.centre) / 2) * shift / variance).sum(axis=1)


def shrunk(shifts: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """The posterior means of shifts [n, Q] measured with these variances, over samples normal round a common mean."""
    mean = shifts.mean(axis=0)
    spread = (shifts.var(axis=0) - errors.mean(axis=0)).clip(min=0)
    return mean + (shifts - mean) * spread / (spread + errors.clip(min=LEAST_SD**2))


def _fit(needs: Needs, observations: Observations, fitting: Fitting) -> float:
    if fitting.hindsight_threshold:
        return 0.0
    return roc.best_threshold(statistic(needs, observations), observations.membership)


def _scores(needs: Needs, threshold: float, observations: Observations) -> np.ndarray:
    return statistic(needs, observations) - threshold


def _attack(name: str, needs: Needs) -> Attack:
    return Attack(
        name, "after Carlini et al., S&P 2022", needs, fit=partial(_fit, needs), scores=partial(_scores, needs)
    )


ONE = _attack("lira_ranks", Needs({"image": 1}, shadows=True))
SIXTEEN = _attack("lira_ranks_16", Needs({"image": 1, "near_copy": COPIES}, shadows=True))
