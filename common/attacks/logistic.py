"""Logistic regression on features of the observations: what attacks with more than one number are fitted by."""

from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from common.attacks.interface import Attack, Fitting, Needs, Sees
from common.attacks.observations import Observations

Features = Callable[[Observations], np.ndarray]
"""observations -> float64 [n, F]"""

C = 0.01  # the inverse of the penalty: a strong one, since features are many and known members few
"""Chosen, with the features of copies.py, on `digits` with seeds 100 to 102, of which no result is reported."""


def attack(name: str, features: Features, *, source: str, needs: Needs, sees: Sees = "answer") -> Attack:
    """The attack that weighs features linearly."""
    return Attack(
        name=name,
        source=source,
        needs=needs,
        fit=partial(_fit, features),
        scores=partial(_scores, features),
        learns=True,
        sees=sees,
    )


def fit(features: np.ndarray, member: np.ndarray) -> Pipeline:
    """Of standardised features [n, F]; members and non-members weigh equally, however many there are."""
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=C, class_weight="balanced", max_iter=1000))
    return regression.fit(features, member)


def scores(fitted: Pipeline, features: np.ndarray) -> np.ndarray:
    """Log odds of membership where members and non-members are equally many: float64 [n]."""
    return fitted.decision_function(features)


def _fit(features: Features, observations: Observations, fitting: Fitting) -> Pipeline:
    return fit(features(observations), observations.membership)


def _scores(features: Features, fitted: Pipeline, observations: Observations) -> np.ndarray:
    return scores(fitted, features(observations))
