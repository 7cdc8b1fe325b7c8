"""What attacks prove about (epsilon, delta)-differential privacy: lower bounds that hold with a confidence.

If training is (epsilon, delta)-private, no attack has TPR > e^epsilon FPR + delta (Kairouz, Oh and Viswanath, ICML
2015), so one that does refutes it. The true epsilon may be greater than a bound, since a better attack may exist; it is
smaller only by chance, in at most the share of cases that the confidence leaves. That holds for counts over models that
are trained independently of each other. Counts over the samples of one model are taken as if they were: training on one
sample moves the answers to others, so there ``lower_bound`` is an estimate, and ``one_run_bound`` the proof.
"""

import math

import numpy as np
from scipy.stats import binom

from common.statistics.proportions import Point, clopper_pearson


def lower_bound(point: Point, *, delta: float, confidence: float = 0.95) -> float:
    """The epsilon that one attack at one threshold refutes; at least 0.

    point:  counts at a threshold that was fixed on other samples; members are in and out independently of each other

    The greater of log((TPR - delta) / FPR) and log((TNR - delta) / FNR), with the lower end of TPR's exact interval and
    the upper end of FPR's. Each end fails in at most half of the cases that the confidence leaves, and both directions
    need these two alone.
    """
    least_tpr, _ = clopper_pearson(point.true_positives, point.members, confidence=confidence)
    _, most_fpr = clopper_pearson(point.false_positives, point.non_members, confidence=confidence)
    ratios = (_ratio(least_tpr - delta, most_fpr), _ratio(1 - most_fpr - delta, 1 - least_tpr))
    return math.log(max(1.0, *ratios))


def ceiling(members: int, non_members: int, *, delta: float, confidence: float = 0.95) -> float:
    """The greatest bound that so many samples can give: that of an attack without a mistake.

    >>> round(ceiling(499, 499, delta=0.0), 1)
    4.9
    """
    return lower_bound(Point(members, members, 0, non_members), delta=delta, confidence=confidence)


def one_run_bound(*, canaries: int, guesses: int, right: int, delta: float, confidence: float = 0.95) -> float:
    """The epsilon that one model refutes (Steinke, Nasr and Jagielski, NeurIPS 2023, theorem 5.2); at least 0.

    canaries:  m samples, each of them in with probability 1/2, independently of all others
    guesses:   r of the m whose membership the auditor guesses, a number fixed beforehand
    right:     v of the guesses

    >>> round(one_run_bound(canaries=100, guesses=100, right=100, delta=0.0), 2)
    3.49
    """
    if not 0 <= right <= guesses <= canaries:
        raise ValueError(f"{right} right ones of {guesses} guesses of {canaries} canaries")
    if guesses == 0 or one_run_p_value(0.0, canaries, guesses, right, delta) >= 1 - confidence:
        return 0.0
    low, high = 0.0, 1.0
    while one_run_p_value(high, canaries, guesses, right, delta) < 1 - confidence:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        refuted = one_run_p_value(middle, canaries, guesses, right, delta) < 1 - confidence
        low, high = (middle, high) if refuted else (low, middle)
    return low


def one_run_p_value(epsilon: float, canaries: int, guesses: int, right: int, delta: float) -> float:
    """At most so often are that many guesses right where training is (epsilon, delta)-private.

    P[B >= v] + 2 m delta max over i = 1 … v of P[v - i <= B < v] / i, where B is binomial of r draws with probability
    e^epsilon / (1 + e^epsilon).
    """
    share = 1 / (1 + math.exp(-epsilon))
    by_chance = float(binom.sf(right - 1, guesses, share))
    if delta == 0 or right == 0:
        return min(1.0, by_chance)
    fewer = np.arange(1, right + 1)
    below = binom.cdf(right - 1, guesses, share) - binom.cdf(right - 1 - fewer, guesses, share)
    return min(1.0, by_chance + 2 * canaries * delta * float((below / fewer).max()))


def _ratio(most: float, least: float) -> float:
    """Of two shares, 1 where the first is none."""
    return most / least if most > 0 else 1.0
