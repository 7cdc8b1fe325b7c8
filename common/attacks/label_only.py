"""Attackers who see labels and nothing else (Choquette-Choo et al., ICML 2021). A fence that keeps labels stops none.

Correctness, the gap attack, is one of them and has a file of its own.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from common.attacks import logistic
from common.attacks.interface import Attack, Needs
from common.attacks.observations import LabelKind, Observations

SOURCE = "Choquette-Choo et al., ICML 2021"
AUGMENTATIONS: Mapping[LabelKind, int] = {"shift": 4, "shift_2": 8, "rotation": 6, "flip": 1}
NOISES: Mapping[LabelKind, int] = {"noise_5": 16, "noise_10": 16, "noise_20": 16, "noise_40": 16}


def robustness(kinds: Mapping[LabelKind, int], observations: Observations) -> np.ndarray:
    """Whether the label is right, and what share of each kind of changed images keeps it, apart for right labels and
    for wrong ones: float64 [n, 1 + 2 * kinds]."""
    right = observations.correct[:, None]
    share = np.stack([observations.kept(kind).mean(axis=1) for kind in kinds], axis=1)
    return np.hstack([right, right * share, ~right * share])


def _attack(name: str, kinds: Mapping[LabelKind, int]) -> Attack:
    features, needs = partial(robustness, kinds), Needs(queries={"image": 1}, labels=kinds)
    return logistic.attack(name, features, source=SOURCE, needs=needs, sees="label")


AUGMENTATION = _attack("label_augmentation", AUGMENTATIONS)
NOISE = _attack("label_noise", NOISES)
COMBINED = _attack("label_combined", {**AUGMENTATIONS, **NOISES})
