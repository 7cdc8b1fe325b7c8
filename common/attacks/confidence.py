"""Confidence: the probability of the true label (Song and Mittal, USENIX Security 2021)."""

import numpy as np
from scipy.special import expit

from common.attacks import statistics
from common.attacks.threshold import attack


def confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """p_y - 1, y being the true label: so written it still tells answers apart whose p_y rounds to 1."""
    return -expit(-statistics.phi_of(logits, labels))


ATTACK = attack("confidence", statistics.phi_of, source="Song and Mittal, USENIX Security 2021", published=True)
PER_CLASS = attack("confidence_per_class", confidence, source="Song and Mittal, USENIX Security 2021", per_class=True)
