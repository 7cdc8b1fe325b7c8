"""How well scores tell members from non-members: scores float64 [n] (higher = member), member bool [n].

ROC curves are scikit-learn's, AUCs are counted from ranks. Degenerate input (one kind missing, NaN, infinity) raises
ValueError.
"""

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_curve

from common.statistics.proportions import Point


def auc(scores: np.ndarray, member: np.ndarray) -> float:
    """Probability that a random member outscores a random non-member, ties counting a half.

    >>> auc(np.array([3.0, 1.0, 2.0, 0.0]), np.array([True, True, False, False]))
    0.75
    """
    check(scores, member)
    members, others = int(member.sum()), int((~member).sum())
    wins = rankdata(scores)[member].sum() - members * (members + 1) / 2  # Mann and Whitney's U; in halves, so exact
    return float(wins / (members * others))


def best_threshold(scores: np.ndarray, member: np.ndarray) -> float:
    """The t for which "member if score >= t" has the greatest balanced accuracy; of equal ones the greatest t."""
    check(scores, member)
    fpr, tpr, thresholds = roc_curve(member, scores, drop_intermediate=False)
    members, others = int(member.sum()), int((~member).sum())
    gain = np.rint(tpr * members) * others - np.rint(fpr * others) * members  # in whole numbers, so that ties are ties
    return float(thresholds[1:][np.argmax(gain[1:])])  # the first threshold is infinity: nobody is a member


def balanced_accuracy(scores: np.ndarray, member: np.ndarray, threshold: float) -> float:
    """(TPR + TNR) / 2 of "member if score >= threshold"."""
    check(scores, member)
    guess = scores >= threshold
    return float((guess[member].mean() + (~guess[~member]).mean()) / 2)


def hindsight_accuracy(scores: np.ndarray, member: np.ndarray) -> float:
    """The greatest balanced accuracy of any threshold, chosen on the scores that it is measured on; at least 1/2."""
    return balanced_accuracy(scores, member, best_threshold(scores, member))


def tpr_at_fpr(scores: np.ndarray, member: np.ndarray, fpr: float, *, strict: bool = False) -> float:
    """Greatest TPR of a threshold whose FPR is at most ``fpr`` (Carlini et al., S&P 2022); ``strict``: below it."""
    return point_at_fpr(scores, member, fpr, strict=strict).tpr


def tnr_at_fnr(scores: np.ndarray, member: np.ndarray, fnr: float, *, strict: bool = False) -> float:
    """Greatest TNR of a threshold whose FNR is at most ``fnr``: the same question about non-members."""
    return tpr_at_fpr(-scores, ~member, fnr, strict=strict)


def point_at_fpr(scores: np.ndarray, member: np.ndarray, fpr: float, *, strict: bool = False) -> Point:
    """The counts behind ``tpr_at_fpr``."""
    return point_at(scores, member, threshold_at_fpr(scores, member, fpr, strict=strict))


def threshold_at_fpr(scores: np.ndarray, member: np.ndarray, fpr: float, *, strict: bool = False) -> float:
    """The threshold behind ``tpr_at_fpr``, of those with equally many members the strictest; infinity calls nobody."""
    check(scores, member)
    fprs, tprs, thresholds = roc_curve(member, scores, drop_intermediate=False)
    allowed = np.flatnonzero((fprs < fpr) if strict else (fprs <= fpr))
    return float(thresholds[allowed[np.argmax(tprs[allowed])]]) if len(allowed) else np.inf


def point_at(scores: np.ndarray, member: np.ndarray, threshold: float) -> Point:
    """The counts of "member if score >= threshold"."""
    check(scores, member)
    guess = scores >= threshold
    return Point(int(guess[member].sum()), int(member.sum()), int(guess[~member].sum()), int((~member).sum()))


def check(scores: np.ndarray, member: np.ndarray) -> None:
    """Raise ValueError where these are not scores and membership of both kinds."""
    if scores.shape != member.shape or scores.ndim != 1 or member.dtype != bool:
        raise ValueError(f"expected scores [n] and member bool [n], found {scores.shape} and {member.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores are NaN or infinite")
    if member.all() or not member.any():
        raise ValueError("members and non-members are needed")
