"""Confidence: the probability of the true label (Song and Mittal, USENIX Security 2021)."""

import numpy as np
from scipy.special import softmax

from common.attacks.threshold import attack, of_label


def confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """p_y, the probability of the true label."""
    return of_label(softmax(logits, axis=1), labels)


ATTACK = attack("confidence", confidence, source="Song and Mittal, USENIX Security 2021", published=True)
PER_CLASS = attack("confidence_per_class", confidence, source="Song and Mittal, USENIX Security 2021", per_class=True)
