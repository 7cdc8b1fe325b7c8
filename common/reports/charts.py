"""The paper's kinds of charts, readable on a phone and without colour: markers, dashes and hatches differ beside it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from common.reports.pictures import new_figure, of_kinds

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # of Okabe and Ito
MARKERS = ("s", "o", "^", "D", "v", "P", "x")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))
HATCHES = ("", "//", "..", "xx")


def bars(
    names: Sequence[str],
    values: Mapping[str, Sequence[float]],
    *,
    marks: Mapping[str, Sequence[float]],
    label: str,
    floor: float = 0,
    ends: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    width: float = 5.2,
) -> Figure:
    """A group of bars for each name, and marks for what others report of the same.

    floor:  where bars begin
    ends:   of the values' intervals
    width:  of the figure, in inches
    """
    figure, axes = new_figure(width, 0.45 * len(names) + 1.6)
    height, places = 0.8 / len(values), np.arange(len(names))
    for number, (kind, lengths) in enumerate(values.items()):
        at = places + (number - (len(values) - 1) / 2) * height
        look = {"color": COLOURS[number], "hatch": HATCHES[number], "edgecolor": "white", "label": kind}
        axes.barh(at, np.array(lengths) - floor, height, left=floor, **look)
        if ends is not None:
            low, high = np.array(ends[kind]).T
            axes.hlines(at, low, high, color="black", linewidth=1)
    for number, (kind, reported) in enumerate(marks.items()):
        at = places + (number - (len(marks) - 1) / 2) * height
        axes.plot(
            reported, at, marker=MARKERS[3 + number], color="black", markerfacecolor="none", linestyle="", label=kind
        )
    axes.set(yticks=places, yticklabels=names, xlabel=label)
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", fontsize=8, ncols=2)
    return figure


def histograms(panels: Mapping[str, np.ndarray], member: np.ndarray, *, label: str) -> Figure:
    """Values float64 [n] of members and non-members, a panel below the other on one scale."""
    figure, axes = new_figure(5.2, 1.5 * len(panels) + 0.6, rows=len(panels))
    together = np.concatenate(list(panels.values()))
    low, high = np.quantile(together, [0.002, 0.998])
    bins = np.linspace(low, high, 41)
    for axis, (name, values) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for kind, chosen, colour, hatch in of_kinds(member):
            clipped = np.clip(values[chosen], bins[0], bins[-1])
            axis.hist(clipped, bins=bins, density=True, color=colour, alpha=0.55, hatch=hatch, label=kind)
        axis.set_title(name, fontsize=9)
    np.atleast_1d(axes)[0].legend(fontsize=8)
    np.atleast_1d(axes)[-1].set_xlabel(label)
    return figure


def scatter(x_values: np.ndarray, values: Mapping[str, np.ndarray], *, x: str, y: str) -> Figure:
    figure, axes = new_figure(5.2, 3.8)
    for number, (name, found) in enumerate(values.items()):
        axes.plot(x_values, found, MARKERS[number], color=COLOURS[number], markersize=3, alpha=0.7, label=name)
    axes.set(xlabel=x, ylabel=y)
    axes.legend(fontsize=8)
    return figure


def lines(x_values: np.ndarray, values: Mapping[str, np.ndarray], *, x: str, y: str) -> Figure:
    figure, axes = new_figure(5.2, 3.8)
    for number, (name, found) in enumerate(values.items()):
        look = {"color": COLOURS[number], "linestyle": DASHES[number], "marker": MARKERS[number], "markersize": 3}
        axes.plot(x_values, found, label=name, **look)
    axes.set(xlabel=x, ylabel=y)
    axes.legend(fontsize=8)
    return figure


def heat(values: np.ndarray, *, rows: Sequence[int], columns: Sequence[int], y: str, x: str, label: str) -> Figure:
    """A value float64 [rows, columns] in each cell, written there too."""
    figure, axes = new_figure(5.2, 3.6)
    shown = axes.imshow(values, cmap="cividis", aspect="auto")
    middle = (values.min() + values.max()) / 2
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > middle else "white"
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(rows)), yticklabels=rows)
    axes.set(xlabel=x, ylabel=y)
    figure.colorbar(shown, ax=axes, label=label)
    return figure
