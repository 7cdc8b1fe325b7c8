"""Membership scores of single answers: logits float64 [n, K], labels int64 [n] -> float64 [n], higher = member.

Yeom et al. (CSF 2018) for loss and correctness, Song and Mittal (USENIX Security 2021) for confidence, entropy and
modified entropy.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import entr, logsumexp, softmax

LOG_FLOOR = 1e-30  # logarithms of the modified entropy are taken of no less than this


def confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """p_y, the probability of the true label."""
    return _of_label(softmax(logits, axis=1), labels)


def loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log p_y, the negative cross-entropy, as -log(1 + sum over i != y of exp(z_i - z_y)).

    So written it still tells answers apart whose p_y rounds to 1, as the most confident members' does.
    """
    others = logits.copy()
    np.put_along_axis(others, labels[:, None], -np.inf, axis=1)
    return -np.logaddexp(0, logsumexp(others, axis=1) - _of_label(logits, labels))


def entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Negative entropy of the answer; the true label is not used."""
    return -entr(softmax(logits, axis=1)).sum(axis=1)


def modified_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(1 - p_y) log p_y + sum over i != y of p_i log(1 - p_i), Song and Mittal's Mentr with its sign turned."""
    p = softmax(logits, axis=1)
    p_y = _of_label(p, labels)
    terms = p * np.log(np.maximum(1 - p, LOG_FLOOR))
    others = terms.sum(axis=1) - _of_label(terms, labels)
    return (1 - p_y) * np.log(np.maximum(p_y, LOG_FLOOR)) + others


def correctness(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 where the answer is the true label, else 0."""
    return (logits.argmax(axis=1) == labels).astype(np.float64)


def _of_label(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, labels[:, None], axis=1)[:, 0]


Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
SCORES: dict[str, Score] = {
    "confidence": confidence,
    "loss": loss,
    "entropy": entropy,
    "modified_entropy": modified_entropy,
    "correctness": correctness,
}
