"""The image, and copies with Gaussian noise: further apart than near-copies, so no fence can answer all alike."""

from common.attacks.copies import attack
from common.attacks.interface import Needs

SOURCE = "after the noise of Hui et al. (BLINDMI), NDSS 2021, and of augmented queries in Carlini et al., S&P 2022"

SMALL = attack("noisy_copies_5", Needs(queries={"image": 1, "noise_5": 4}), source=SOURCE)
LARGE = attack("noisy_copies_15", Needs(queries={"image": 1, "noise_15": 8}), source=SOURCE)
