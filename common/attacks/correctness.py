"""Correctness: members are answered rightly more often (Yeom et al., CSF 2018).

No defence that keeps the labels lowers it. The published evaluation does not have it.
"""

import numpy as np

from common.attacks.threshold import attack


def correctness(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 where the answer is the true label, else 0."""
    return (logits.argmax(axis=1) == labels).astype(np.float64)


ATTACK = attack("correctness", correctness, source="Yeom et al., CSF 2018")
