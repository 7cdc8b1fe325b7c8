"""K queries a sample: the image, and near-copies that differ from it by one grey level at one pixel."""

from common.attacks.copies import attack
from common.attacks.interface import Needs

SOURCE = "this project; averaging over the draws of a randomised defence: Athalye, Carlini and Wagner, ICML 2018"

ONE = attack("near_copies_1", Needs(queries={"image": 1}), source=SOURCE)
FOUR = attack("near_copies_4", Needs(queries={"image": 1, "near_copy": 3}), source=SOURCE)
SIXTEEN = attack("near_copies_16", Needs(queries={"image": 1, "near_copy": 15}), source=SOURCE)
SIXTY_FOUR = attack("near_copies_64", Needs(queries={"image": 1, "near_copy": 63}), source=SOURCE)
BY_QUERIES = {1: ONE, 4: FOUR, 16: SIXTEEN, 64: SIXTY_FOUR}
