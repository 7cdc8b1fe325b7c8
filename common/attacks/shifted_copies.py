"""The image, and copies shifted by a pixel: up, down, left and right."""

from common.attacks.copies import attack
from common.attacks.interface import Needs

ATTACK = attack(
    "shifted_copies",
    Needs(queries={"image": 1, "shift": 4}),
    source="augmented queries, as in Carlini et al., S&P 2022",
)
