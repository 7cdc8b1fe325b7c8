"""Attacks that compare one number with a threshold, the same for all samples or one for each true label.

Here thresholds are fitted (Yeom et al., CSF 2018; for each class, Song and Mittal, USENIX Security 2021). Scores
are shifted so that 0 is the threshold, which for class thresholds also makes the classes comparable in one ROC curve.
A score that comes ever nearer to 0 would be lost beside its threshold, so with one threshold for all it is compared on
a scale that has no such end, such as that of phi or of logarithms: the ranks are the same.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from common.attacks.interface import Attack, Fitting, Needs
from common.attacks.observations import Observations
from common.statistics import roc

Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(logits float64 [n, K], labels int64 [n]) -> float64 [n], higher = more likely a member"""

Thresholds = np.ndarray | None
"""float64 [K], by true label; None leaves the score as it is"""


def attack(name: str, score: Score, *, source: str, per_class: bool = False, published: bool = False) -> Attack:
    """The attack that compares a score of the answer to the image with a threshold."""
    return Attack(
        name=name,
        source=source,
        needs=Needs(),
        fit=partial(fit, score, per_class=per_class),
        scores=partial(scores, score),
        published=published,
    )


def on_log_scale(score: Score) -> Score:
    """A score that is at most 0, as -log(-score): 0 itself becomes that of the number next to it."""
    return lambda logits, labels: -np.log(np.maximum(-score(logits, labels), np.nextafter(0, 1)))


def fit(score: Score, observations: Observations, fitting: Fitting, *, per_class: bool) -> Thresholds:
    """Thresholds of greatest balanced accuracy; a class without members or non-members gets the one of all samples."""
    if fitting.hindsight_threshold and not per_class:
        return None
    member, labels = observations.membership, observations.labels
    values = score(observations.logits, labels)
    thresholds = np.full(observations.logits.shape[1], roc.best_threshold(values, member))
    if per_class:
        for label in np.unique(labels):
            of_class = labels == label
            if len(np.unique(member[of_class])) == 2:
                thresholds[label] = roc.best_threshold(values[of_class], member[of_class])
    return thresholds


def scores(score: Score, thresholds: Thresholds, observations: Observations) -> np.ndarray:
    """float64 [n], at least 0 where the attack says member."""
    values = score(observations.logits, observations.labels)
    return values if thresholds is None else values - thresholds[observations.labels]


def of_label(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each sample's value for its true label: [n, K], [n] -> [n]."""
    return np.take_along_axis(values, labels[:, None], axis=1)[:, 0]
