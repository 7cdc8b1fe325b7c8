"""All attacks on one set of answers: fitted on the attack-fitting role, scored on the final-test role."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from common.attacks import metrics, neural, threshold
from common.attacks.answers import Answers
from common.attacks.scores import SCORES
from common.config import NNAttackConfig


class Attack(Protocol):
    def scores(self, answers: Answers) -> np.ndarray: ...


Fit = Callable[[Answers], Attack]


def attacks(nn_config: NNAttackConfig, *, seed: int) -> dict[str, Fit]:
    """Every attack by name, as a function that fits it."""
    fits: dict[str, Fit] = {}
    for name, score in SCORES.items():
        fits[name] = partial(threshold.fit, score, per_class=False)
    for name in ("confidence", "entropy", "modified_entropy"):
        fits[f"{name}_per_class"] = partial(threshold.fit, SCORES[name], per_class=True)
    fits["nn"] = partial(neural.fit, config=nn_config, seed=seed)
    return fits


@dataclass(frozen=True)
class Suite:
    """Scores [n] of the final-test answers by attack, 0 being each attack's threshold, and the attacker's favourite."""

    scores: dict[str, np.ndarray]
    favourite: str


def run(fit_on: Answers, test: Answers, nn_config: NNAttackConfig, *, seed: int) -> Suite:
    """Fit every attack and score the test answers.

    The favourite is the attack the attacker would choose before the test: fitted on one half of ``fit_on``, it has the
    greatest AUC on the other half. Its test AUC therefore is no maximum over tries on the test set.
    """
    first_half = _alternate(fit_on.member)
    fits = attacks(nn_config, seed=seed)
    held_back = fit_on[~first_half]
    trial = {name: fit(fit_on[first_half]).scores(held_back) for name, fit in fits.items()}
    favourite = max(trial, key=lambda name: metrics.auc(trial[name], held_back.member))
    return Suite({name: fit(fit_on).scores(test) for name, fit in fits.items()}, favourite)


def _alternate(member: np.ndarray) -> np.ndarray:
    """bool [n]: every other member and every other non-member."""
    position = np.where(member, np.cumsum(member), np.cumsum(~member))
    return position % 2 == 1
