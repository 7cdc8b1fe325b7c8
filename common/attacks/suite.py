"""Attacks fitted on one role's observations and scored on another's."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from common.attacks.interface import Attack, CannotRun, Fitting
from common.attacks.observations import Observations


class Scored(NamedTuple):
    """What an attack says of the samples that it is judged on."""

    scores: np.ndarray  # float64 [n], higher = member
    member: np.ndarray  # bool [n], the truth


@dataclass(frozen=True)
class SuiteResult:
    """The scores of the attacks that ran, by name, and why the others did not."""

    scored: dict[str, Scored] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)


def run(
    attacks: Iterable[Attack],
    fit_on: Observations,
    test: Observations,
    fitting: Fitting,
    *,
    merged_sets: bool = False,
    tick: Callable[[], object] = lambda: None,
) -> SuiteResult:
    """Fit the attacks on one role's observations and score the test observations.

    merged_sets:  attacks that fit no more than a threshold are scored on the fitting and the test samples together, in
                  this order, as the published code does
    tick:         called after each attack
    """
    result = SuiteResult()
    merged = fit_on.joined(test) if merged_sets else test
    for attack in attacks:
        judged = test if attack.learns else merged
        try:
            missing = attack.needs.missing(fit_on) or attack.needs.missing(judged)
            if missing:
                raise CannotRun(missing)
            scores = attack.scores(attack.fit(fit_on, fitting), judged)
            said = ~np.isnan(scores)
            if not said.all() and len(np.unique(judged.membership[said])) < 2:
                raise CannotRun("has no score for any member, or for any non-member, that it could be judged by")
        except CannotRun as reason:
            result.not_run[attack.name] = str(reason)
        else:
            result.scored[attack.name] = Scored(scores, judged.membership)
        tick()
    return result
