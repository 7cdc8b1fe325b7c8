"""The image, and copies with Gaussian noise: further apart than near-copies, so no fence can answer all alike."""

from common.attacks.copies import attack
from common.attacks.interface import Needs

SOURCE = "augmented queries, as in Carlini et al., S&P 2022; Gaussian noise, as in Choquette-Choo et al., ICML 2021"

SMALL = attack("noisy_copies_5", Needs(queries={"image": 1, "noise_5": 4}), source=SOURCE)
LARGE = attack("noisy_copies_15", Needs(queries={"image": 1, "noise_15": 8}), source=SOURCE)
