"""What the low-order digits of answers give away: a fence may hide confidence and still mark its answers.

The third digit of a number and those after it say next to nothing of its size, so in honest answers they are the same
for members and non-members; in answers that were rounded, perturbed or marked for some samples they may not be. A digit
counts only if it differs between known members and non-members beyond chance.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax
from scipy.stats import chi2_contingency

PLACES = range(1, 8)  # behind the decimal point
NONE = 10  # in place of a digit
SIGNIFICANCE = 0.001  # for all columns and places together: one honest fence in a thousand is suspected


class Telling(NamedTuple):
    """A digit that tells: the log ratio of its values among members and non-members, float64 [11], 0 for none."""

    column: int
    place: int
    log_ratio: np.ndarray


def fit(answers: np.ndarray, member: np.ndarray) -> list[Telling]:
    """The digits that tell, from the first of each sample's answers, which are logits [n, Q, K]."""
    columns = _columns(answers)
    tries = columns.shape[-1] * len(PLACES)
    telling = []
    for column in range(columns.shape[-1]):
        for place in PLACES:
            digits = _digits(columns[:, 0, column], place)
            table = np.stack([np.bincount(digits[kind], minlength=11)[:10] for kind in (member, ~member)])
            seen = table[:, table.sum(axis=0) > 0]
            if seen.shape[1] > 1 and seen.any(axis=1).all() and chi2_contingency(seen).pvalue < SIGNIFICANCE / tries:
                share = (table + 1) / (table + 1).sum(axis=1, keepdims=True)
                telling.append(Telling(column, place, np.append(np.log(share[0] / share[1]), 0.0)))
    return telling


def log_ratios(telling: list[Telling], answers: np.ndarray) -> np.ndarray:
    """The log likelihood ratio of the digits of all answers to a sample, taken as independent: float64 [n]."""
    columns, total = _columns(answers), np.zeros(len(answers))
    for column, place, log_ratio in telling:
        total += log_ratio[_digits(columns[:, :, column], place)].sum(axis=1)
    return total


def _columns(answers: np.ndarray) -> np.ndarray:
    """What a marker may have been put on: logits, and the probabilities that a service may show: [n, Q, 2 K]."""
    return np.concatenate([answers, softmax(answers, axis=-1)], axis=-1)


def _digits(values: np.ndarray, place: int) -> np.ndarray:
    """The digit at a place behind the point; 10, for none, where it is among the first two of the number or of what a
    number below 1 lacks to 1, or behind what a number can hold. What stands just below a digit, through rounding,
    counts as that digit."""
    size = np.abs(values)
    there = size < 2.0**53 / 10.0**place
    digits = (np.floor(np.where(there, size, 0.0) * 10.0**place + 0.05) % 10).astype(int)
    to_one = np.where(size <= 1, 1 - size, size)
    return np.where(there & (np.minimum(size, to_one) >= 10.0 ** (2 - place)), digits, NONE)
