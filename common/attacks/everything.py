"""All that the other attackers look at, in one regression: the answers to the image, to near-copies and to larger ones,
the labels of changed images, and the work behind the answers."""

from functools import reduce

import numpy as np

from common.attacks import copies, edges, label_only, logistic, near_copies, noisy_copies, shifted_copies, work
from common.attacks.interface import Needs
from common.attacks.observations import Observations

OF_COPIES = (near_copies.SIXTY_FOUR, noisy_copies.SMALL, noisy_copies.LARGE, shifted_copies.ATTACK)
NEEDS = reduce(
    Needs.together, (attack.needs for attack in (*OF_COPIES, edges.ATTACK, work.ATTACK, label_only.COMBINED))
)


def features(observations: Observations) -> np.ndarray:
    """float64 [n, F]"""
    return np.hstack(
        [
            *(copies.summaries(observations, attack.needs) for attack in OF_COPIES),
            edges.edges(observations),
            work.work(observations),
            label_only.robustness({**label_only.AUGMENTATIONS, **label_only.NOISES}, observations),
        ]
    )


ATTACK = logistic.attack("everything", features, source="this project", needs=NEEDS)
