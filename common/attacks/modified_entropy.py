"""Modified entropy: uncertainty that knows the true label (Song and Mittal, USENIX Security 2021)."""

import numpy as np
from scipy.special import expit, softmax

from common.attacks import statistics
from common.attacks.loss import loss
from common.attacks.threshold import attack, on_log_scale


def modified_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(1 - p_y) log p_y + sum over i != y of p_i log(1 - p_i), Song and Mittal's Mentr with its sign turned."""
    p, top = softmax(logits, axis=1), logits.argmax(axis=1)[:, None]
    below_half = p.copy()
    np.put_along_axis(below_half, top, 0.0, axis=1)
    log_rest = np.log1p(-below_half)
    np.put_along_axis(log_rest, top, -np.logaddexp(0, statistics.phi(logits))[:, None], axis=1)  # of 1 - p that is tiny
    terms = p * log_rest
    np.put_along_axis(terms, labels[:, None], 0.0, axis=1)
    return expit(-statistics.phi_of(logits, labels)) * loss(logits, labels) + terms.sum(axis=1)


SOURCE = "Song and Mittal, USENIX Security 2021"
ATTACK = attack("modified_entropy", on_log_scale(modified_entropy), source=SOURCE, published=True)
PER_CLASS = attack("modified_entropy_per_class", modified_entropy, source=SOURCE, per_class=True)
