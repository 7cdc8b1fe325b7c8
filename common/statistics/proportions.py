"""Shares of samples, with exact intervals."""

from typing import NamedTuple

from scipy.stats import binomtest


class Point(NamedTuple):
    """How many an attack calls members at one threshold, of the members and of the non-members."""

    true_positives: int
    members: int
    false_positives: int
    non_members: int

    @property
    def tpr(self) -> float:
        return self.true_positives / self.members

    @property
    def fpr(self) -> float:
        return self.false_positives / self.non_members


def clopper_pearson(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson, Biometrika 1934).

    >>> tuple(round(end, 4) for end in clopper_pearson(0, 10))
    (0.0, 0.3085)
    """
    interval = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def precision(tpr: float, fpr: float, *, prior: float) -> float | None:
    """Share of members among those called members (PPV), where a share ``prior`` of all is members.

    None where nobody is called a member.
    """
    called = prior * tpr + (1 - prior) * fpr
    return prior * tpr / called if called > 0 else None
