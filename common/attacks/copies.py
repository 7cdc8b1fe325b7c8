"""What an attacker does with the answers to an image and to changed copies of it.

Where a fence draws its noise anew for every image, each copy is another draw: their mean and spread say more of the
image than one answer does.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline

from common.attacks import decimals, logistic, statistics
from common.attacks.interface import Attack, Fitting, Needs
from common.attacks.observations import Observations


class Summarised(NamedTuple):
    """A regression on summaries of the answers, and the digits that tell something beside."""

    regression: Pipeline
    digits: list[decimals.Telling]


def attack(name: str, needs: Needs, *, source: str) -> Attack:
    """The attack that summarises the answers to its queries and weighs the summaries."""
    return Attack(
        name=name,
        source=source,
        needs=needs,
        fit=partial(_fit, needs),
        scores=partial(_scores, needs),
        learns=True,
    )


def summaries(observations: Observations, needs: Needs) -> np.ndarray:
    """Of the answers to a sample's queries: float64 [n, 8].

    Mean and spread of phi, phi of the true label and entropy, and the share beyond each end of the fence's interval.
    """
    places = needs.places(observations)
    answers = observations.answers[:, places]
    labels = np.broadcast_to(observations.labels[:, None], answers.shape[:2])
    phi = statistics.phi(answers)
    lo, hi = observations.wanted(places) or (-np.inf, np.inf)
    each = np.stack([phi, statistics.phi_of(answers, labels), statistics.entropy(answers)], axis=-1)
    beyond = np.stack([(phi < lo).mean(axis=1), (phi > hi).mean(axis=1)], axis=-1)
    return np.hstack([each.mean(axis=1), each.std(axis=1), beyond])


def _fit(needs: Needs, observations: Observations, fitting: Fitting) -> Summarised:
    member = observations.membership
    digits = decimals.fit(observations.answers[:, needs.places(observations)], member)
    features = _features(needs, digits, observations)
    return Summarised(logistic.fit(features, member), digits)


def _scores(needs: Needs, fitted: Summarised, observations: Observations) -> np.ndarray:
    return logistic.scores(fitted.regression, _features(needs, fitted.digits, observations))


def _features(needs: Needs, digits: list[decimals.Telling], observations: Observations) -> np.ndarray:
    said = decimals.log_ratios(digits, observations.answers[:, needs.places(observations)])
    return np.hstack([summaries(observations, needs), said[:, None]])
