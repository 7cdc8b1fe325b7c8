"""LiRA: a sample's answer against what shadow models answer that were trained on it and that were not.

Carlini et al., S&P 2022. phi_y of the true label is taken for normal over models, for each sample and each query with a
mean of its own, once over the models that have seen the sample and once over those that have not.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import norm

from common.attacks import statistics
from common.attacks.interface import Attack, CannotRun, Fitting, Needs
from common.attacks.observations import Observations
from common.runtime.config import Strict
from common.statistics import roc

Centre = Literal["mean", "median"]
Variance = Literal["one", "each"]
"""one: the same for all samples of a kind of models, from their deviations from each sample's own centre, which is
better below some 64 models; each: of each sample."""


class LiraConfig(Strict):
    """The normal distributions of a sample's phi over shadow models."""

    centre: Centre
    variance: Variance


COPIES = 15  # near-copies beside the image
LEAST_SD = 1e-6  # where shadow models all answer alike


class Normal(NamedTuple):
    """phi_y over models, float64 [n, Q] each."""

    centre: np.ndarray
    sd: np.ndarray


def over_models(phi: np.ndarray, chosen: np.ndarray, *, centre: Centre = "mean", variance: Variance = "one") -> Normal:
    """The normal distributions of phi float64 [S, n, Q] over the models chosen for each sample, bool [S, n].

    With "one" variance every sample loses one degree of freedom to its own centre.

    Raises CannotRun where some sample has none, or all have only one.
    """
    counts = chosen.sum(axis=0)[:, None]  # [n, 1]
    if (counts < 1).any() or (counts < 2).all() or (variance == "each" and (counts < 2).any()):
        raise CannotRun("needs at least two shadow models of each kind for a sample: train more with train_shadows.py")
    there = np.where(chosen[:, :, None], phi, np.nan)  # [S, n, Q]
    middle = np.nanmean(there, axis=0) if centre == "mean" else np.nanmedian(there, axis=0)
    squares = np.nansum((there - middle) ** 2, axis=0)  # [n, Q]
    if variance == "one":
        squares, counts = squares.sum(axis=0, keepdims=True), (counts - 1).sum(axis=0, keepdims=True) + 1
    return Normal(middle, np.broadcast_to(np.sqrt(squares / (counts - 1)).clip(min=LEAST_SD), middle.shape))


def online(phi: np.ndarray, of_in: Normal, of_out: Normal) -> np.ndarray:
    """log N(phi; in) - log N(phi; out) of phi [n, Q], summed over the queries as if they were independent: [n]."""
    return (norm.logpdf(phi, *of_in) - norm.logpdf(phi, *of_out)).sum(axis=1)


def offline(phi: np.ndarray, of_out: Normal) -> np.ndarray:
    """-log P(out answers above phi) of phi [n, Q], summed over the queries as if they were independent: [n].

    For one query it ranks as the paper's normal distribution function does, and does not saturate.
    """
    return -norm.logsf(phi, *of_out).sum(axis=1)


def statistic(
    needs: Needs,
    observations: Observations,
    config: LiraConfig,
    *,
    kind: Literal["online", "offline"],
    averaged: bool = False,
) -> np.ndarray:
    """LiRA's statistic float64 [n]; ``averaged`` takes the mean phi_y of a sample's queries for one query."""
    centre, variance = config.centre, config.variance
    shadows, seen = observations.shadow_phi, observations.in_shadow
    assert shadows is not None and seen is not None
    places = needs.places(observations)
    phi = statistics.phi_of(observations.answers[:, places], observations.labels[:, None])  # [n, Q]
    shadows = shadows[:, :, places]  # [S, n, Q]
    if averaged:
        phi, shadows = phi.mean(axis=1, keepdims=True), shadows.mean(axis=2, keepdims=True)
    of_out = over_models(shadows, ~seen, centre=centre, variance=variance)
    if kind == "offline":
        return offline(phi, of_out)
    return online(phi, over_models(shadows, seen, centre=centre, variance=variance), of_out)


class Fitted(NamedTuple):
    config: LiraConfig
    threshold: float


def _attack(name: str, needs: Needs, **how: Any) -> Attack:
    def fit(observations: Observations, fitting: Fitting) -> Fitted:
        config: LiraConfig = fitting.config.shadows.lira
        if fitting.hindsight_threshold:
            return Fitted(config, 0.0)
        found = statistic(needs, observations, config, **how)
        return Fitted(config, roc.best_threshold(found, observations.membership))

    def scores(fitted: Fitted, observations: Observations) -> np.ndarray:
        return statistic(needs, observations, fitted.config, **how) - fitted.threshold

    return Attack(name, "Carlini et al., S&P 2022", needs, fit, scores)


_ONE = Needs({"image": 1}, shadows=True)
_MANY = Needs({"image": 1, "near_copy": COPIES}, shadows=True)

ONLINE = _attack("lira", _ONE, kind="online")
OFFLINE = _attack("lira_offline", _ONE, kind="offline")
ONLINE_16 = _attack("lira_16", _MANY, kind="online")
OFFLINE_16 = _attack("lira_offline_16", _MANY, kind="offline")
MEAN_16 = _attack("lira_mean_16", _MANY, kind="online", averaged=True)
