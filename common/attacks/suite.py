"""All attacks on one set of answers: fitted on the attack-fitting role, scored on the final-test role."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np

from common.attacks import neural, threshold
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


def run(fit_on: Answers, test: Answers, nn_config: NNAttackConfig, *, seed: int) -> dict[str, np.ndarray]:
    """Fit every attack on one role's answers: its scores [n] of the test answers, 0 being its threshold."""
    return {name: fit(fit_on).scores(test) for name, fit in attacks(nn_config, seed=seed).items()}
