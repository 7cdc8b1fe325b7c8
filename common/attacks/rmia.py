"""RMIA: how much likelier the target makes a sample than most other samples, beside what shadow models say of both.

Zarifzadeh et al., ICML 2024. Ratio(x) = p_y(x) by the target over p(x), its mean over models. The score is the share of
samples z from outside the training set for which Ratio(x) / Ratio(z) >= gamma. Where models are sure, nearly all ratios
lie within a factor of gamma; so samples that beat as many z are ranked by their own ratio.
"""

from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit, log_expit, logsumexp

from common.attacks import statistics
from common.attacks.interface import Attack, CannotRun, Fitting, Needs
from common.attacks.lira import COPIES
from common.attacks.observations import Observations
from common.runtime.config import Fraction, PositiveFloat, Strict
from common.statistics import roc

Kind = Literal["online", "offline"]


class RmiaConfig(Strict):
    gamma: PositiveFloat  # by how much a ratio must exceed another
    a: Fraction  # of the offline form, p = ((1 + a) mean + (1 - a)) / 2


class Known(NamedTuple):
    """log Ratio(z) of the known non-members, rising; and the least log Ratio that is called a member's."""

    config: RmiaConfig
    log_ratios: np.ndarray
    threshold: float


def log_ratios(needs: Needs, observations: Observations, *, kind: Kind, a: float) -> np.ndarray:
    """log Ratio float64 [n], the mean over a sample's queries.

    online:   p(x) is the mean over all shadow models, of which half were trained on x
    offline:  from the mean over those that were not: ((1 + a) mean + (1 - a)) / 2

    Raises CannotRun where a sample has no shadow model of the kind that is asked for.
    """
    shadows, seen = observations.shadow_phi, observations.in_shadow
    assert shadows is not None and seen is not None
    places = needs.places(observations)
    target = log_expit(statistics.phi_of(observations.answers[:, places], observations.labels[:, None]))  # [n, Q]
    phi = shadows[:, :, places]  # [S, n, Q]
    chosen = ~seen if kind == "offline" else np.ones_like(seen)
    counts = chosen.sum(axis=0)[:, None]
    if (counts < 1).any():
        raise CannotRun(
            "needs a shadow model for each sample that was not trained on it: train more with train_shadows.py"
        )
    log_p = logsumexp(np.where(chosen[:, :, None], log_expit(phi), -np.inf), axis=0) - np.log(counts)
    rest = expit(-phi).mean(axis=0, where=chosen[:, :, None])  # 1 - p
    if kind == "offline":
        log_p = np.logaddexp(np.log1p(a) + log_p, np.log1p(-a)) - np.log(2)
        rest = (1 + a) / 2 * rest
    log_p = np.where(rest < 0.5, np.log1p(-rest.clip(max=0.5)), log_p)  # exact, however near to 1 p is
    return (target - log_p).mean(axis=1)


def fit(needs: Needs, observations: Observations, fitting: Fitting, *, kind: Kind) -> Known:
    """The fitting role's non-members are the samples z; the threshold is fitted on all of the role."""
    config: RmiaConfig = fitting.config.shadows.rmia
    found, member = log_ratios(needs, observations, kind=kind, a=config.a), observations.membership
    threshold = 0.0 if fitting.hindsight_threshold else roc.best_threshold(found, member)
    return Known(config, np.sort(found[~member]), threshold)


def beaten(known: np.ndarray, found: np.ndarray, threshold: float, *, gamma: float) -> np.ndarray:
    """How many more of rising log Ratio(z) [m] each log Ratio(x) [n] exceeds by at least log(gamma) than the threshold
    does, as a share: float64 [n] in (-1, 1).

    A log ratio that exceeds k of m counts as k + expit(log ratio): of those that exceed as many the greater is more.
    """
    count, of_threshold = (np.searchsorted(known, each - np.log(gamma), side="right") for each in (found, threshold))
    return (count - of_threshold + (np.tanh(found / 2) - np.tanh(threshold / 2)) / 2) / (len(known) + 1)


def scores(needs: Needs, known: Known, observations: Observations, *, kind: Kind) -> np.ndarray:
    found = log_ratios(needs, observations, kind=kind, a=known.config.a)
    return beaten(known.log_ratios, found, known.threshold, gamma=known.config.gamma)


def _attack(name: str, needs: Needs, kind: Kind) -> Attack:
    return Attack(
        name=name,
        source="Zarifzadeh et al., ICML 2024",
        needs=needs,
        fit=partial(fit, needs, kind=kind),
        scores=partial(scores, needs, kind=kind),
        learns=True,
    )


_ONE = Needs({"image": 1}, shadows=True)
_MANY = Needs({"image": 1, "near_copy": COPIES}, shadows=True)

ONLINE = _attack("rmia", _ONE, "online")
OFFLINE = _attack("rmia_offline", _ONE, "offline")
ONLINE_16 = _attack("rmia_16", _MANY, "online")
