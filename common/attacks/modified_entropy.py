"""Modified entropy: uncertainty that knows the true label (Song and Mittal, USENIX Security 2021)."""

import numpy as np
from scipy.special import softmax

from common.attacks.threshold import attack, of_label

LOG_FLOOR = 1e-30  # logarithms are taken of no less than this


def modified_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(1 - p_y) log p_y + sum over i != y of p_i log(1 - p_i), Song and Mittal's Mentr with its sign turned."""
    p = softmax(logits, axis=1)
    p_y = of_label(p, labels)
    terms = p * np.log(np.maximum(1 - p, LOG_FLOOR))
    others = terms.sum(axis=1) - of_label(terms, labels)
    return (1 - p_y) * np.log(np.maximum(p_y, LOG_FLOOR)) + others


SOURCE = "Song and Mittal, USENIX Security 2021"
ATTACK = attack("modified_entropy", modified_entropy, source=SOURCE, published=True)
PER_CLASS = attack("modified_entropy_per_class", modified_entropy, source=SOURCE, per_class=True)
