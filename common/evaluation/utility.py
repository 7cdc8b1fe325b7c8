"""What the answers are worth to an honest user beside their label, on samples that nothing was trained or tuned on."""

import numpy as np

from common.evaluation.answers import Answered
from common.evaluation.record import Bins, Estimate, Utility
from common.statistics import calibration
from common.statistics.bootstrap import Bootstrap, interval95


def of(answered: Answered, bootstrap: Bootstrap) -> Utility:
    """Of the answers to the non-members.

    The intervals are of resamples, in which a calibration error is somewhat greater than it is over all.
    """
    observations = answered.observations
    others = ~observations.membership
    logits, labels = observations.logits[others], observations.labels[others]
    binned = calibration.reliability(logits, labels)
    errors = [
        calibration.reliability(logits, labels, weights).expected_error for weights in bootstrap.non_member_counts
    ]

    def mean(values: np.ndarray) -> Estimate:
        resampled = bootstrap.non_member_means(values)
        return Estimate(value=float(values.mean()), interval=list(interval95(resampled)))

    return Utility(
        calibration_error=Estimate(value=binned.expected_error, interval=list(interval95(np.array(errors)))),
        negative_log_likelihood=mean(calibration.negative_log_likelihoods(logits, labels)),
        brier_score=mean(calibration.brier_scores(logits, labels)),
        bins=Bins(
            counts=binned.counts.astype(int).tolist(),
            confidences=binned.confidences.tolist(),
            accuracies=binned.accuracies.tolist(),
        ),
    )
