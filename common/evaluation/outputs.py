"""What a classifier gives: logits, or probabilities, of which the logarithm is taken. Told by sums, never guessed."""

from typing import Any, NamedTuple

import numpy as np

from common.attacks.door import answers_in
from common.runtime.modes import Answers

EXACT, ROUNDED = 1e-3, 0.05  # how far sums of probabilities may lie from 1: by themselves, and where the user says it


class Logits(NamedTuple):
    """values: float64, as given or the logarithm of probabilities; notes: what a reader must know of them"""

    values: np.ndarray
    outputs: Answers
    notes: tuple[str, ...] = ()


def logits_of(given: Any, outputs: Answers | None, *, name: str = "answers", shape: str = "[n, K]") -> Logits:
    """Logits of what a classifier gives: any floating array of the shape, its last axis the classes.

    outputs:  what they are; None looks at the sums, and takes nothing for granted where these leave it open

    Raises ValueError where they are neither, not what ``outputs`` says, or could be both.
    """
    rows = answers_in(given, name=name, shape=shape)
    sums, least, most = rows.sum(axis=-1), float(rows.min()), float(rows.max())
    found = f"values from {least:.4g} to {most:.4g}, and rows that sum to {sums.min():.4g} to {sums.max():.4g}"
    departure = float(np.abs(sums - 1).max())
    exact = least >= 0 and departure <= EXACT
    if outputs is None and not exact and least >= 0 and most <= 1:
        raise ValueError(
            f"{name}: {found}: no probabilities of classes, and hardly logits. Say which they are (outputs, "
            "--outputs); of sigmoids take log p - log(1 - p), which are logits"
        )
    if (outputs or ("probabilities" if exact else "logits")) == "logits":
        if exact:
            raise ValueError(f"{name}: said to be logits, but they are probabilities: {found}")
        return Logits(rows, "logits")
    if least < 0 or departure > ROUNDED:
        raise ValueError(f"{name}: said to be probabilities, but they have {found}")
    return _of_probabilities(rows / sums[..., None], name)


def _of_probabilities(rows: np.ndarray, name: str) -> Logits:
    notes = ["outputs are probabilities, by their sums: attacks see their logarithm"]
    zeros = int((rows == 0).sum())
    if zeros:
        floor = float(rows[rows > 0].min()) / 2
        notes.append(f"{zeros} of {rows.size} probabilities in {name} are 0, taken for {floor:.3g}")
        rows = np.maximum(rows, floor)
    sure = float((rows.max(axis=-1) == 1).mean())
    if sure:
        notes.append(
            f"{100 * sure:.1f} % of {name} have probability 1 exactly, so they are rounded: logits say more, "
            "and attackers may have them"
        )
    return Logits(np.log(rows), "probabilities", tuple(notes))
