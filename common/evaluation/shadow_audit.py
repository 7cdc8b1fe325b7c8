"""From what a store's models say to the record: each attack on the target, on all models in turn, and on canaries."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import t

from common.attacks import SHADOW_ATTACKS
from common.attacks.interface import CannotRun, Fitting
from common.evaluation.shadow_record import Epsilon, OfAllModels, OneRun, Rate, ShadowRow, UnderFence, Vulnerable
from common.evaluation.shadows import Models, Scores, each_in_turn, separations
from common.statistics import epsilon, roc
from common.statistics.bootstrap import Bootstrap, interval95
from common.statistics.proportions import clopper_pearson

FPRS, FNRS = ("0.001", "0.01"), ("0.001",)
LEAST_CANARIES = 4  # of whom two guesses are made
MOST_VULNERABLE = 10

Roles = Mapping[str, np.ndarray]
"""Places of the samples among all that the models were asked about, by role: int64 [n]."""


def under_fence(models: Models, roles: Roles, fitting: Fitting, *, resamples: int, delta: float) -> UnderFence:
    """All attacks that need shadow models, behind one fence or none."""
    rows: dict[str, ShadowRow] = {}
    on_fitting: dict[str, float] = {}
    of_canaries: dict[str, Scores] = {}
    not_run: dict[str, str] = {}
    fit_on, test, canaries = roles["attack_fit"], roles["final_test"], roles["canaries"]
    everyone = np.concatenate([fit_on, test, canaries])
    cuts = np.cumsum([len(fit_on), len(test)])
    for name, attack in SHADOW_ATTACKS.items():
        try:
            whole = each_in_turn(models, attack, fit_on, everyone, fitting)
        except CannotRun as reason:
            not_run[name] = str(reason)
            continue
        known, judged, of_canaries[name] = (_part(whole, part) for part in np.split(np.arange(len(everyone)), cuts))
        on_fitting[name] = float(known.aucs.mean())
        rows[name] = ShadowRow(
            auc=roc.auc(*judged.of_target),
            auc_ci=list(interval95(_resampled(judged, resamples=resamples, seed=fitting.seed))),
            models=of_all_models(judged),
            canaries=of_all_models(of_canaries[name]) if len(canaries) >= LEAST_CANARIES else None,
            epsilon=epsilon_of(known, judged, delta=delta),
        )
    chosen = max(on_fitting, key=on_fitting.__getitem__)
    one_run = _one_run(chosen, of_canaries[chosen], delta=delta) if len(canaries) >= LEAST_CANARIES else None
    return UnderFence(attacks=rows, not_run=not_run, chosen=chosen, one_run=one_run)


def of_all_models(scores: Scores) -> OfAllModels:
    aucs = scores.aucs
    return OfAllModels(
        auc=float(aucs.mean()),
        auc_ci=over_models(aucs),
        tpr_at_fpr={fpr: rate(scores, float(fpr)) for fpr in FPRS},
        tnr_at_fnr={fnr: rate(Scores(-scores.scores, ~scores.member), float(fnr)) for fnr in FNRS},
    )


def rate(scores: Scores, allowed: float) -> Rate:
    """TPR of all models' scores together, at a threshold whose FPR is at most ``allowed``.

    Its interval is a jackknife's (Tukey's pseudo-values): the target and each pair of twins are left out in turn, and
    the threshold is found anew without them.
    """
    together, member = scores.together
    found = roc.point_at_fpr(together, member, allowed)
    without = np.array([roc.tpr_at_fpr(*rest.together, allowed) for rest in _without_each(scores)])
    if len(np.unique(without)) == 1 < len(without):  # as where none is hit: models that agree are not sure
        interval = list(clopper_pearson(found.true_positives, found.members))
    else:
        interval = over_models(found.tpr + (len(without) - 1) * (np.sum(without) / max(1, len(without)) - without))
    return Rate(value=found.tpr, interval=interval, mistakes=allowed * found.non_members)


def _without_each(scores: Scores) -> Iterator[Scores]:
    """All models but the target, and but each pair of twins, in turn; where members and others are left."""
    pairs = (np.arange(len(scores.scores)) + 1) // 2
    for pair in np.unique(pairs):
        rest = Scores(scores.scores[pairs != pair], scores.member[pairs != pair])
        if len(np.unique(rest.member)) == 2:
            yield rest


def _part(scores: Scores, places: np.ndarray) -> Scores:
    return Scores(scores.scores[:, places], scores.member[:, places])


def over_models(values: np.ndarray) -> list[float]:
    """Of values in [0, 1], float64 [models], the mean's 95 % interval by Student's t; [0, 1] of fewer than two."""
    if len(values) < 2:
        return [0.0, 1.0]
    width = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(np.clip(values.mean() + side * width, 0, 1)) for side in (-1, 1)]


def _resampled(judged: Scores, *, resamples: int, seed: int) -> np.ndarray:
    """The target's AUC in every resample of its samples."""
    scores, member = judged.of_target
    return Bootstrap.draw(member, resamples=resamples, seed=seed).aucs(scores, member)


def epsilon_of(known: Scores, judged: Scores, *, delta: float) -> Epsilon:
    """Of the target, at the threshold with the greatest bound on the fitting role.

    Of equal ones, as where few samples prove nothing there, the one that tells members and others apart best.
    """
    thresholds = np.unique(known.scores[0])
    points = [roc.point_at(*known.of_target, each) for each in thresholds]
    promises = [(epsilon.lower_bound(each, delta=delta), abs(each.tpr - each.fpr)) for each in points]
    point = roc.point_at(*judged.of_target, float(thresholds[promises.index(max(promises))]))
    return Epsilon(
        lower_bound=epsilon.lower_bound(point, delta=delta),
        ceiling=epsilon.ceiling(point.members, point.non_members, delta=delta),
    )


def _one_run(name: str, canaries: Scores, *, delta: float) -> OneRun:
    """Half of the canaries are guessed, those of the most extreme scores: as many in as out."""
    scores, member = canaries.of_target
    side = len(scores) // 4
    order = np.argsort(scores, kind="stable")
    right = int(member[order[-side:]].sum() + (~member[order[:side]]).sum())
    given = {"canaries": len(scores), "guesses": 2 * side}
    return OneRun(
        attack=name,
        **given,
        right=right,
        lower_bound=epsilon.one_run_bound(**given, right=right, delta=delta),
        ceiling=epsilon.one_run_bound(**given, right=2 * side, delta=delta),
    )


def most_vulnerable(
    by_fence: Mapping[str, Models], places: np.ndarray, *, indices: np.ndarray, labels: np.ndarray, canaries: np.ndarray
) -> list[Vulnerable]:
    """The samples of greatest separation without a fence by every other pair of shadow models, measured by the others.

    places:    of the samples that are looked at, among all that the models were asked about
    indices:   of all these in the training set, labels: as they are trained with, canaries: in the training set
    """
    first = next(iter(by_fence.values()))
    pairs = (np.array(first.numbers) - 1) // 2  # of the target -1
    halves = [np.flatnonzero((pairs >= 0) & (pairs % 2 == half)) for half in (0, 1)]
    try:
        found_by = separations(_models(first.of(places), halves[0]))
        measured = {name: separations(_models(models.of(places), halves[1])) for name, models in by_fence.items()}
    except CannotRun:  # too few shadow models for two halves
        return []
    return [
        Vulnerable(
            index=int(indices[places[row]]),
            label=int(labels[places[row]]),
            canary=bool(np.isin(indices[places[row]], canaries)),
            member=bool(first.member[0, places[row]]),
            separations={name: float(of_fence[row]) for name, of_fence in measured.items()},
        )
        for row in np.argsort(-found_by, kind="stable")[:MOST_VULNERABLE]
    ]


def _models(models: Models, chosen: Sequence[int] | np.ndarray) -> Models:
    numbers = [models.numbers[place] for place in chosen]
    return Models(numbers, models.phi[chosen], models.member[chosen], models.queries)
