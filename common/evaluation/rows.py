"""One attack's scores as numbers with their uncertainty: a row of the report."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.attacks.suite import Scored
from common.evaluation.protocols import Protocol
from common.evaluation.record import AttackRow, Estimate, Point
from common.statistics import proportions, roc
from common.statistics.bootstrap import Bootstrap, interval95

FPRS = ("0.001", "0.01")
FNRS = ("0.001",)
PRIORS = ("0.01", "0.1", "0.5")


@dataclass(frozen=True)
class Judged:
    """One attack's scores, with the resamples of the samples that it is judged on.

    queries:  how many a sample it asked
    said:     bool [n], the samples that it has a score for; None where it has one for all
    """

    protocol: Protocol
    scored: Scored
    bootstrap: Bootstrap
    queries: int = 1
    said: np.ndarray | None = None

    @property
    def of_every_sample(self) -> np.ndarray:
        """float64 [n], NaN where it has no score."""
        if self.said is None:
            return self.scored.scores
        found = np.full(len(self.said), np.nan)
        found[self.said] = self.scored.scores
        return found

    @cached_property
    def aucs(self) -> np.ndarray:
        """float64 [B], the AUC of every resample."""
        return self.bootstrap.aucs(*self.scored)

    @cached_property
    def accuracies(self) -> np.ndarray:
        """float64 [B], the balanced accuracy of every resample."""
        if self.protocol.hindsight_threshold:
            return self.bootstrap.hindsight_accuracies(*self.scored)
        return self.bootstrap.accuracies(*self.scored, threshold=0.0)

    @cached_property
    def measured(self) -> AttackRow:
        hindsight, strict = self.protocol.hindsight_threshold, self.protocol.strict_rates
        accuracy = roc.hindsight_accuracy if hindsight else _accuracy_of_fitted
        scores, member = self.scored
        at_fpr = {fpr: roc.point_at_fpr(scores, member, float(fpr), strict=strict) for fpr in FPRS}
        at_fnr = {fnr: roc.point_at_fpr(-scores, ~member, float(fnr), strict=strict) for fnr in FNRS}
        return AttackRow(
            auc=roc.auc(scores, member),
            auc_ci=list(interval95(self.aucs)),
            balanced_accuracy=accuracy(scores, member),
            balanced_accuracy_ci=list(interval95(self.accuracies)),
            tpr_at_fpr={fpr: point.tpr for fpr, point in at_fpr.items()},
            tnr_at_fnr={fnr: point.tpr for fnr, point in at_fnr.items()},
            tpr_points=_points(at_fpr, scores, member, self.bootstrap, strict=strict),
            tnr_points=_points(at_fnr, -scores, ~member, self.bootstrap.turned, strict=strict),
            ppv={} if hindsight else _precisions(roc.point_at(scores, member, 0.0)),
            queries=self.queries,
        )


def _accuracy_of_fitted(scores: np.ndarray, member: np.ndarray) -> float:
    return roc.balanced_accuracy(scores, member, 0.0)


def _points(
    found: dict[str, proportions.Point], scores: np.ndarray, member: np.ndarray, resamples: Bootstrap, *, strict: bool
) -> dict[str, Point]:
    """By the allowed rate of mistakes. Each resample has a threshold of its own, which the exact interval has not."""
    limits = np.array([float(allowed) for allowed in found])
    rates = resamples.tprs(scores, member, np.nextafter(limits, 0) if strict else limits)
    return {
        allowed: _point(point, float(allowed), interval95(rate), strict=strict)
        for (allowed, point), rate in zip(found.items(), rates.T, strict=True)
    }


def _point(point: proportions.Point, allowed: float, resampled: tuple[float, float], *, strict: bool) -> Point:
    """A rate is resolved where one mistake is allowed: a share of 1 / n, which strictly must be below the limit."""
    mistakes = allowed * point.non_members
    exact = proportions.clopper_pearson(point.true_positives, point.members)
    return Point(
        hits=point.true_positives,
        of=point.members,
        mistakes=point.false_positives,
        among=point.non_members,
        interval=[min(exact[0], resampled[0]), max(exact[1], resampled[1])],
        resolved=mistakes > 1 if strict else mistakes >= 1,
    )


def _precisions(point: proportions.Point) -> dict[str, Estimate]:
    """By prior; the ends from exact 97.5 % intervals of TPR and FPR, so that both hold in 95 of 100 cases at least."""
    tpr = proportions.clopper_pearson(point.true_positives, point.members, confidence=0.975)
    fpr = proportions.clopper_pearson(point.false_positives, point.non_members, confidence=0.975)
    found = {}
    for prior in PRIORS:
        value = proportions.precision(point.tpr, point.fpr, prior=float(prior))
        if value is not None:
            least = proportions.precision(tpr[0], fpr[1], prior=float(prior)) or 0.0
            most = proportions.precision(tpr[1], fpr[0], prior=float(prior))
            assert most is not None  # an upper end is never 0
            found[prior] = Estimate(value=value, interval=[least, most])
    return found
