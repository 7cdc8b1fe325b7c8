"""Entropy: answers to members are less uncertain (Song and Mittal, USENIX Security 2021)."""

import numpy as np

from common.attacks import statistics
from common.attacks.threshold import attack, on_log_scale


def entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Negative entropy of the answer; the true label is not used."""
    return -statistics.entropy(logits)


ATTACK = attack("entropy", on_log_scale(entropy), source="Song and Mittal, USENIX Security 2021", published=True)
PER_CLASS = attack("entropy_per_class", entropy, source="Song and Mittal, USENIX Security 2021", per_class=True)
