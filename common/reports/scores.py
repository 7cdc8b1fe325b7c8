"""The scores of every sample of the final test as CSV, for those who judge in ways of their own."""

import csv
import io
from collections.abc import Mapping

import numpy as np

from common.evaluation.judge import Verdict
from common.reports.results import Beside

FIRST = ("fence", "set", "index", "label", "member")


def table(sides: Mapping[str, Verdict], beside: Beside) -> str:
    """A row for each sample and side, a column for each attack: higher = more likely a member, at least 0 = named one.

    set, index:  where the sample is found in the dataset; empty where that is not known

    A cell is empty where an attack has no score.
    """
    attacks = list(dict.fromkeys(name for side in sides.values() for name in side.attacks))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FIRST, *attacks])
    for fence, side in sides.items():
        seen = side.test.observations
        scores = {name: judged.of_every_sample for name, judged in side.attacks.items()}
        for place, (label, member) in enumerate(zip(seen.labels, seen.membership, strict=True)):
            index = "" if beside.indices is None else beside.indices[place]
            cells = [_cell(scores[name][place]) if name in scores else "" for name in attacks]
            writer.writerow([fence, "train" if member else "test", index, label, int(member), *cells])
    return text.getvalue()


def _cell(score: float) -> str:
    return "" if np.isnan(score) else repr(float(score))
