"""Attacks that compare a score with a threshold, one for all samples or one for each class (Song and Mittal 2021).

``fit`` learns the thresholds from one role's answers; ``scores`` of other answers are shifted so that 0 is the
threshold, which for class thresholds also makes the classes comparable in one ROC curve.
"""

from dataclasses import dataclass

import numpy as np

from common.attacks import metrics
from common.attacks.answers import Answers
from common.attacks.scores import Score


@dataclass(frozen=True)
class ThresholdAttack:
    score: Score
    thresholds: np.ndarray | None  # float64 [K], by true label; None leaves the score as it is

    def scores(self, answers: Answers) -> np.ndarray:
        """float64 [n], at least 0 where the attack says member."""
        values = self.score(answers.logits, answers.labels)
        return values if self.thresholds is None else values - self.thresholds[answers.labels]


def unfitted(score: Score) -> ThresholdAttack:
    """The score as it is, for whoever picks its threshold in hindsight."""
    return ThresholdAttack(score, None)


def fit(score: Score, answers: Answers, *, per_class: bool) -> ThresholdAttack:
    """Thresholds of greatest balanced accuracy; a class without members or non-members gets the one of all samples."""
    values = score(answers.logits, answers.labels)
    thresholds = np.full(answers.logits.shape[1], metrics.best_threshold(values, answers.member))
    if per_class:
        for label in np.unique(answers.labels):
            of_class = answers.labels == label
            if len(np.unique(answers.member[of_class])) == 2:
                thresholds[label] = metrics.best_threshold(values[of_class], answers.member[of_class])
    return ThresholdAttack(score, thresholds)
