"""The likelihood ratio of one answer: how much more often members get such an answer than non-members do.

It finds by itself which side members are on, so it also reads answers that make members look less sure.
"""

from typing import NamedTuple

import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import QuantileTransformer

from common.attacks import decimals, statistics
from common.attacks.interface import Attack, CannotRun, Fitting, Needs
from common.attacks.observations import Observations

BANDWIDTHS = np.geomspace(0.1, 2.0, 12)  # where every feature is normal with standard deviation 1
FOLDS = 5


class Densities(NamedTuple):
    """What members and non-members are answered, after a transformation that makes every feature normal."""

    to_normal: QuantileTransformer
    of_members: KernelDensity
    of_non_members: KernelDensity
    digits: list[decimals.Telling]


def fit(observations: Observations, fitting: Fitting) -> Densities:
    """Kernel estimates in phi, phi of the true label and entropy, their bandwidth by cross-validated likelihood."""
    member = observations.membership
    if min(member.sum(), (~member).sum()) < FOLDS:
        raise CannotRun(f"needs at least {FOLDS} members and {FOLDS} non-members to be fitted on")
    features = _features(observations)
    to_normal = QuantileTransformer(n_quantiles=min(100, len(features)), output_distribution="normal", random_state=0)
    normal = to_normal.fit_transform(features)
    return Densities(
        to_normal,
        _density(normal[member]),
        _density(normal[~member]),
        decimals.fit(observations.logits[:, None], member),
    )


def scores(fitted: Densities, observations: Observations) -> np.ndarray:
    """log p(answer | member) - log p(answer | non-member): float64 [n]."""
    normal = fitted.to_normal.transform(_features(observations))
    ratio = fitted.of_members.score_samples(normal) - fitted.of_non_members.score_samples(normal)
    return ratio + decimals.log_ratios(fitted.digits, observations.logits[:, None])


def _features(observations: Observations) -> np.ndarray:
    logits = observations.logits
    of_label = statistics.phi_of(logits, observations.labels)
    return np.stack([statistics.phi(logits), of_label, statistics.entropy(logits)], axis=1)


def _density(points: np.ndarray) -> KernelDensity:
    search = GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, cv=FOLDS)
    search.fit(points)
    return search.best_estimator_


ATTACK = Attack(
    name="likelihood_ratio",
    source="Neyman and Pearson, 1933; kernel estimates of one answer's statistics",
    needs=Needs(),
    fit=fit,
    scores=scores,
    learns=True,
)
