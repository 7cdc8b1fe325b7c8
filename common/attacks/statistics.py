"""What attacks read off an answer: logits float64 [..., K] -> float64 [...], computed so that nothing saturates."""

import numpy as np
from scipy.special import entr, logsumexp, softmax


def phi(logits: np.ndarray) -> np.ndarray:
    """log p_top - log(1 - p_top), the confidence that the fence looks at."""
    return phi_of(logits, logits.argmax(axis=-1))


def phi_of(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log p_y - log(1 - p_y), y being ``labels`` int64 [...] (Carlini et al., S&P 2022)."""
    chosen = labels[..., None]
    others = logits.copy()
    np.put_along_axis(others, chosen, -np.inf, axis=-1)
    return np.take_along_axis(logits, chosen, axis=-1)[..., 0] - logsumexp(others, axis=-1)


def entropy(logits: np.ndarray) -> np.ndarray:
    """Shannon's, of softmax(logits), in nats."""
    return entr(softmax(logits, axis=-1)).sum(axis=-1)
