"""What probabilities are worth beside the label: logits float64 [n, K], labels int64 [n]."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax, softmax

BINS = 15  # of confidence, as Guo et al. (ICML 2017) take


class Reliability(NamedTuple):
    """Bins of equal width in confidence, the probability of the label that is answered.

    counts:      float64 [BINS]
    confidences: float64 [BINS], the mean in each bin, 0 where it is empty
    accuracies:  float64 [BINS], the share of right labels, 0 where it is empty
    """

    counts: np.ndarray
    confidences: np.ndarray
    accuracies: np.ndarray

    @property
    def expected_error(self) -> float:
        """Expected calibration error (Naeini et al., AAAI 2015): |accuracy - confidence|, averaged over samples."""
        return float((self.counts * np.abs(self.accuracies - self.confidences)).sum() / self.counts.sum())


def reliability(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Reliability:
    """``weights`` [n] says how often each sample counts; once where there are none."""
    p = softmax(logits, axis=1)
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == labels
    # (k / BINS, (k + 1) / BINS]
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    weights = np.ones(len(labels)) if weights is None else weights
    count, confident, right = (
        np.bincount(bins, weights=weights * value, minlength=BINS) for value in (1.0, confidence, correct)
    )
    some = np.where(count > 0, count, 1)
    return Reliability(count, confident / some, right / some)


def negative_log_likelihoods(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log p_y of each sample: float64 [n]."""
    return -np.take_along_axis(log_softmax(logits, axis=1), labels[:, None], axis=1)[:, 0]


def brier_scores(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Sum over classes of (p_i - [i = y])^2 of each sample (Brier, 1950): float64 [n], 0 … 2."""
    p = softmax(logits, axis=1)
    p[np.arange(len(labels)), labels] -= 1
    return (p**2).sum(axis=1)
