"""What the page of an evaluation, or of an audit, is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure

from common.evaluation.judge import Verdict
from common.evaluation.record import Report, UnderProtocol
from common.reports import pictures, sides
from common.runtime.images import Labelled


@dataclass(frozen=True)
class Beside:
    """What a page shows that no report has; what there is none of is left out.

    samples:   of the final test, members first, in the order in which attacks score them
    indices:   int64 [n], of the samples, in the training set or the test set
    purified:  rows of images float [n, C, H, W] in [0, 1] by name: as they are, noised, denoised
    logs:      by what was trained, each measurement float64 [rounds]
    links:     to pages beside this one, by what they are
    missing:   lines that say what could not be shown, and why
    """

    samples: Labelled | None = None
    indices: np.ndarray | None = None
    purified: Mapping[str, torch.Tensor] = field(default_factory=dict)
    logs: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()


@dataclass(frozen=True)
class Results:
    """An evaluation, or an audit of a classifier without any fence, where ``fenced`` is None.

    sides, parts:  verdicts and reports by side, see sides.py
    figures:       by name: roc, phi, copies, reliability
    """

    title: str
    without: Report
    fenced: Report | None
    sides: Mapping[str, Verdict]
    parts: Mapping[str, UnderProtocol]
    figures: Mapping[str, Figure]
    beside: Beside = Beside()

    @property
    def main(self) -> Report:
        return self.without if self.fenced is None else self.fenced


def of(
    title: str,
    without: Report,
    fenced: Report | None,
    found: Mapping[str, Verdict],
    beside: Beside | None = None,
) -> Results:
    """With all figures drawn; ``fenced`` is None and ``found`` has one side, ALONE, where there is no fence."""
    parts = sides.parts(without, fenced)
    return Results(title, without, fenced, found, parts, figures(found, parts, title=title), beside or Beside())


def figures(found: Mapping[str, Verdict], parts: Mapping[str, UnderProtocol], *, title: str) -> dict[str, Figure]:
    """Those that there are, by name."""
    drawn = {
        "roc": pictures.roc(found, title=title),
        "phi": pictures.phis(found, title=title),
        "copies": pictures.near_copies(found, title=title),
        "reliability": pictures.reliability(parts, title=title),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}
