import math

import numpy as np
import pytest
from scipy.special import softmax

from common.statistics import calibration

GENERATOR = np.random.default_rng(0)
LOGITS, LABELS = 2 * GENERATOR.normal(size=(300, 4)), GENERATOR.integers(0, 4, 300)


def slow_expected_error(logits, labels):
    """Over samples one by one, bins (k / 15, (k + 1) / 15]."""
    bins = {}
    for z, y in zip(logits, labels, strict=True):
        p = softmax(z)
        place = next(k for k in range(15) if p.max() <= (k + 1) / 15 + 1e-15)
        bins.setdefault(place, []).append((p.max(), float(np.argmax(p) == y)))
    return sum(abs(sum(c for c, _ in one) - sum(r for _, r in one)) for one in bins.values()) / len(labels)


def test_the_calibration_error_is_that_of_plain_loops():
    found = calibration.reliability(LOGITS, LABELS)
    assert found.expected_error == pytest.approx(slow_expected_error(LOGITS, LABELS))
    assert found.counts.sum() == 300 and len(found.counts) == 15


def test_weights_are_repetitions():
    weights = GENERATOR.integers(0, 4, 300)
    again = np.repeat(np.arange(300), weights)
    weighted = calibration.reliability(LOGITS, LABELS, weights.astype(float))
    assert weighted.expected_error == pytest.approx(slow_expected_error(LOGITS[again], LABELS[again]))


def test_answers_that_are_right_as_often_as_they_say_are_calibrated():
    """Labels drawn from the probabilities."""
    logits = np.random.default_rng(1).normal(size=(200_000, 3))
    p = softmax(logits, axis=1)
    labels = (p.cumsum(axis=1) < np.random.default_rng(2).random((len(p), 1))).sum(axis=1)
    assert calibration.reliability(logits, labels).expected_error < 0.005


def test_likelihood_and_brier_score_by_hand():
    logits, labels = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])), np.array([0, 1])
    assert calibration.negative_log_likelihoods(logits, labels) == pytest.approx([-math.log(0.7), -math.log(0.1)])
    assert calibration.brier_scores(logits, labels) == pytest.approx([0.09 + 0.04 + 0.01, 0.01 + 0.81 + 0.64])
