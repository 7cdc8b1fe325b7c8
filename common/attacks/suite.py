"""All attacks on one set of answers, fitted on one role's and scored on another's."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from common.attacks import neural, threshold
from common.attacks.answers import Answers
from common.attacks.scores import SCORES
from common.config import NNAttackConfig

PER_CLASS = {f"{name}_per_class": SCORES[name] for name in ("confidence", "entropy", "modified_entropy")}
PUBLISHED = (*SCORES, "nn")  # those of the published evaluation
ALL = (*SCORES, *PER_CLASS, "nn")


class Scored(NamedTuple):
    """What an attack says of the samples that it is judged on."""

    scores: np.ndarray  # float64 [n], higher = member
    member: np.ndarray  # bool [n], the truth


def _threshold_attacks(fit_on: Answers, *, hindsight: bool) -> Iterator[tuple[str, threshold.ThresholdAttack]]:
    for name, score in SCORES.items():
        yield name, threshold.unfitted(score) if hindsight else threshold.fit(score, fit_on, per_class=False)
    for name, score in PER_CLASS.items():
        yield name, threshold.fit(score, fit_on, per_class=True)


def run(
    fit_on: Answers,
    test: Answers,
    nn_config: NNAttackConfig,
    *,
    seed: int,
    names: tuple[str, ...] = ALL,
    merged_sets: bool = False,
    hindsight_threshold: bool = False,
    epoch_by_test_auc: bool = False,
) -> dict[str, Scored]:
    """Fit attacks on one role's answers and score the test answers: 0 is each one's threshold.

    The options are the published code's way:
    merged_sets:          threshold attacks are scored on the fitting and the test answers together, in this order
    hindsight_threshold:  one threshold for all is not fitted: the scores are left as they are
    epoch_by_test_auc:    the NN attack trains on all fitting answers, and its epoch is picked by its AUC on the test
    """
    judged = fit_on.joined(test) if merged_sets else test
    scored = {
        name: Scored(attack.scores(judged), judged.member)
        for name, attack in _threshold_attacks(fit_on, hindsight=hindsight_threshold)
        if name in names
    }
    if "nn" in names:
        net = neural.fit(fit_on, nn_config, seed=seed, choose_on=test if epoch_by_test_auc else None)
        scored["nn"] = Scored(net.scores(test), test.member)
    return scored
