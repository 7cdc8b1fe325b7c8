"""Which attack an attacker would choose who sees the fitting role alone: by cross-validation, without the test."""

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.model_selection import StratifiedKFold

from common.attacks import suite
from common.attacks.interface import Attack, Fitting
from common.attacks.observations import Observations
from common.runtime import rng
from common.statistics import roc

FOLDS = 3


def best(
    attacks: Sequence[Attack],
    observations: Observations,
    fitting: Fitting,
    *,
    tick: Callable[[], object] = lambda: None,
) -> tuple[str, float] | None:
    """The attack whose AUC on samples that it was not fitted on is the greatest, and that AUC, a mean over folds.

    None where no attack can be tried so. ``tick`` is called after each attack of each of the ``FOLDS`` folds.
    """
    member = observations.membership
    fewest = int(min(member.sum(), (~member).sum()))
    if fewest < FOLDS:
        return None
    shuffled = rng.derive_seed(fitting.seed, "choice of an attack") % 2**32
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=shuffled)
    aucs: dict[str, list[float]] = {}
    for fit_on, held_out in folds.split(member, member):
        result = suite.run(attacks, observations[fit_on], observations[held_out], fitting, tick=tick)
        for name, scored in result.scored.items():
            said = ~np.isnan(scored.scores)
            aucs.setdefault(name, []).append(roc.auc(scored.scores[said], scored.member[said]))
    means = {name: float(np.mean(found)) for name, found in aucs.items() if len(found) == FOLDS}
    if not means:
        return None
    name = max(means, key=means.__getitem__)
    return name, means[name]
