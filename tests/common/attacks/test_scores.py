import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.attacks.confidence import confidence
from common.attacks.correctness import correctness
from common.attacks.entropy import entropy
from common.attacks.loss import loss
from common.attacks.modified_entropy import modified_entropy

SCORES = {score.__name__: score for score in (confidence, loss, entropy, modified_entropy, correctness)}

PROBABILITIES = [0.7, 0.2, 0.1]
LOGITS = np.log([PROBABILITIES, PROBABILITIES])  # softmax undoes the logarithm
LABELS = np.array([0, 2])

batches = st.integers(2, 6).flatmap(lambda k: arrays(np.float64, (5, k), elements=st.floats(-12, 12)))


def test_toy_values_by_hand():
    ln = math.log
    entropy = 0.7 * ln(0.7) + 0.2 * ln(0.2) + 0.1 * ln(0.1)
    expected = {
        "confidence": [-0.3, -0.9],
        "loss": [ln(0.7), ln(0.1)],
        "entropy": [entropy, entropy],
        "modified_entropy": [
            0.3 * ln(0.7) + 0.2 * ln(0.8) + 0.1 * ln(0.9),
            0.9 * ln(0.1) + 0.7 * ln(0.3) + 0.2 * ln(0.8),
        ],
        "correctness": [1.0, 0.0],
    }
    assert expected.keys() == SCORES.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(SCORES[name](LOGITS, LABELS), values, rtol=1e-12)


@given(batches, st.integers(0, 5))
def test_loss_is_minus_the_cross_entropy_of_torch(logits, shift):
    labels = (np.arange(len(logits)) + shift) % logits.shape[1]
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), reduction="none"
    ).numpy()
    np.testing.assert_allclose(loss(logits, labels), -expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(confidence(logits, labels) + 1, np.exp(-expected), rtol=1e-10, atol=1e-12)


@given(batches)
def test_entropy_lies_between_minus_log_k_and_zero_and_ignores_the_label(logits):
    first, other = (entropy(logits, np.full(len(logits), label)) for label in (0, 1))
    assert (first <= 0).all() and (first >= -math.log(logits.shape[1]) - 1e-12).all()
    assert (first == other).all()


@given(batches, st.floats(-100, 100))
def test_adding_a_constant_to_all_logits_changes_no_score(logits, constant):
    labels = np.arange(len(logits)) % logits.shape[1]
    for name in ("confidence", "loss", "entropy", "modified_entropy"):
        before, after = SCORES[name](logits, labels), SCORES[name](logits + constant, labels)
        np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["confidence", "loss", "modified_entropy"])
def test_more_confidence_in_the_true_label_is_more_like_a_member(name):
    logits = np.stack([np.linspace(-5, 5, 30), np.zeros(30), np.ones(30)], axis=1)
    assert (np.diff(SCORES[name](logits, np.zeros(30, dtype=np.int64))) > 0).all()


@pytest.mark.parametrize("name", SCORES)
def test_saturated_answers_have_finite_scores_and_the_right_one_is_more_like_a_member(name):
    logits = np.array([[1e4, 0.0, -1e4], [1e4, 0.0, -1e4]])
    right, wrong = SCORES[name](logits, np.array([0, 2]))
    assert np.isfinite([right, wrong]).all()
    assert right == wrong if name == "entropy" else right > wrong


@pytest.mark.parametrize("name", ["confidence", "loss", "modified_entropy"])
def test_answers_whose_probability_rounds_to_1_are_told_apart(name):
    logits = np.array([[50.0, 0.0, 0.0], [60.0, 0.0, 0.0], [700.0, 0.0, 0.0]])
    rest = [2 * math.exp(-50), 2 * math.exp(-60), 2 * math.exp(-700)]
    expected = {
        "confidence": [-p for p in rest],
        "loss": [-p for p in rest],
        "modified_entropy": [-(p**2) - 2 * (p / 2) ** 2 for p in rest],
    }
    found = SCORES[name](logits, np.zeros(3, dtype=np.int64))
    np.testing.assert_allclose(found, expected[name], rtol=1e-12)
    assert (np.diff(found[:2]) > 0).all()


def test_answers_that_are_surely_wrong_are_told_apart():
    logits = np.array([[50.0, 0.0, 0.0], [60.0, 0.0, 0.0], [700.0, 0.0, 0.0]])
    found = modified_entropy(logits, np.ones(3, dtype=np.int64))
    np.testing.assert_allclose(found, [-100 - math.log(0.5), -120 - math.log(0.5), -1400 - math.log(0.5)], rtol=1e-12)
