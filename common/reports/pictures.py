"""Pictures: ROC curves, histograms of phi, training curves, and grids of images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from common.attacks.near_copies import BY_QUERIES
from common.evaluation.judge import Verdict
from common.evaluation.record import UnderProtocol
from common.reports.sides import ALONE, FENCES
from common.runtime import storage
from common.statistics.bootstrap import Bootstrap

WITHOUT, WITH, STEADY = "#0072b2", "#d55e00", "#009e73"  # of Okabe and Ito, which any eye keeps apart
LOOKS = {ALONE: (WITHOUT, "s", "-"), FENCES["held_out"]: (WITH, "o", "--"), FENCES["steady"]: (STEADY, "^", "-.")}
"""Of a side: colour, marker and dashes, so that grey tells them apart too."""
WIDTH = 4.2  # inches: at the width of a phone its letters are still read
MANY = 10  # answers of a bin, from which on its accuracy says something
MEMBER, NON_MEMBER = "#cc79a7", "#009e73"
_PNG = {"Software": None}  # no version in the file: equal content, equal bytes


def roc(sides: Mapping[str, Verdict], *, title: str) -> Figure:
    """Log-log ROC curves of each side's best attack, with the 95 % bootstrap band of each."""
    figure, axes = new_figure(WIDTH, 4.8)
    member = sides[ALONE].test.observations.membership
    kinds = np.bincount(member)
    least = 0.5 / int(kinds.max())
    fprs = np.geomspace(least, 1, 200)
    for label, verdict in sides.items():
        attack, (colour, _, dash) = verdict.best_attack, LOOKS[label]
        judged = verdict.attacks[attack]
        tpr = Bootstrap.once(judged.scored.member).tprs(*judged.scored, fprs)[0]
        lo, hi = np.quantile(judged.bootstrap.tprs(*judged.scored, fprs), [0.025, 0.975], axis=0)
        name = f"{label}: {attack}, AUC {verdict.best.auc:.2f}"
        axes.plot(fprs, np.maximum(tpr, least), color=colour, linestyle=dash, label=name)
        axes.fill_between(fprs, np.maximum(lo, least), np.maximum(hi, least), color=colour, alpha=0.2, linewidth=0)
    axes.plot(fprs, fprs, color="grey", linestyle=":", label="guessing")
    one = 1 / int((~member).sum())
    axes.axvspan(least, one, color="grey", alpha=0.15, linewidth=0, label="less than one non-member")
    axes.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least, 1.05))
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=title)
    figure.legend(loc="outside lower left", fontsize=8)
    return figure


def phis(sides: Mapping[str, Verdict], *, title: str) -> Figure:
    """Histograms of phi of the answers to members and non-members, each side below the other."""
    figure, axes = new_figure(WIDTH, 2.2 * len(sides) + 0.4, rows=len(sides))
    axes = np.atleast_1d(axes)
    together = np.concatenate([verdict.test.phi for verdict in sides.values()])
    lo, hi = np.quantile(together, [0.002, 0.998])
    bins = np.linspace(lo, hi, 41)
    for axis, (label, verdict) in zip(axes, sides.items(), strict=True):
        for kind, chosen, colour, hatch in of_kinds(verdict.test.observations.membership):
            clipped = np.clip(verdict.test.phi[chosen], bins[0], bins[-1])
            look = {"color": colour, "hatch": hatch, "alpha": 0.55, "label": f"{kind} ({chosen.sum()})"}
            axis.hist(clipped, bins=bins, density=True, **look)
        if verdict.interval is not None and np.isfinite(verdict.interval).all():
            for end in verdict.interval:
                axis.axvline(end, color="black", linestyle="--", linewidth=1)
            axis.plot([], [], color="black", linestyle="--", linewidth=1, label="interval")
        axis.set(ylabel="density", title=label, xlim=(bins[0], bins[-1]))
        axis.legend(fontsize=8)
    axes[-1].set_xlabel("phi = log p_top - log(1 - p_top) of the answer")
    figure.suptitle(title, fontsize=11)
    return figure


def of_kinds(member: np.ndarray) -> list[tuple[str, np.ndarray, str, str]]:
    """Members and non-members of bool [n]: what they are called, who they are, their colour and their hatch."""
    return [("members", member, MEMBER, "//"), ("non-members", ~member, NON_MEMBER, "")]


def asked(attacks: Mapping[str, object]) -> dict[int, str]:
    """By the number of queries the attack by near-copies, of those that ran."""
    return {k: attack.name for k, attack in BY_QUERIES.items() if attack.name in attacks}


def near_copies(sides: Mapping[str, Verdict], *, title: str) -> Figure | None:
    """AUC (above) and TPR at 1 % FPR (below) against the number of near-copies, with 95 % bands; None without them."""
    by_queries = asked(sides[ALONE].attacks)
    if len(by_queries) < 2:
        return None
    figure, axes = new_figure(WIDTH, 5.6, rows=2)
    for label, verdict in sides.items():
        colour, marker, dash = LOOKS[label]
        rows = [verdict.attacks[name].measured for name in by_queries.values()]
        points = [row.tpr_points["0.01"] for row in rows]
        curves = (
            ([row.auc for row in rows], [row.auc_ci for row in rows]),
            ([point.hits / point.of for point in points], [point.interval for point in points]),
        )
        for axis, (values, ends) in zip(axes, curves, strict=True):
            lo, hi = zip(*ends, strict=True)
            axis.plot(list(by_queries), values, color=colour, linestyle=dash, marker=marker, label=label)
            axis.fill_between(list(by_queries), lo, hi, color=colour, alpha=0.2, linewidth=0)
    ticks = list(by_queries)
    for axis, name, guess in zip(axes, ("AUC", "TPR at 1 % FPR"), (0.5, 0.01), strict=True):
        axis.axhline(guess, color="grey", linestyle=":", label="guessing")
        axis.set(xscale="log", xticks=ticks, xticklabels=ticks, xlabel="queries an image", ylabel=name)
        axis.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize=8, ncols=2)
    figure.suptitle(f"{title}: near-copies", fontsize=11)
    return figure


def reliability(sides: Mapping[str, UnderProtocol], *, title: str) -> Figure:
    """Accuracy against confidence of the answers to non-members, each side below the other."""
    figure, axes = new_figure(WIDTH, 2.6 * len(sides) + 0.7, rows=len(sides))
    axes = np.atleast_1d(axes)
    for axis, (name, part) in zip(axes, sides.items(), strict=True):
        (colour, *_), utility = LOOKS[name], part.utility
        axis.plot([0, 1], [0, 1], color="grey", linestyle=":", label="calibrated")
        axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", title=name)
        if utility is not None:
            bins, width = utility.bins, 1 / len(utility.bins.counts)
            middles = (np.arange(len(bins.counts)) + 0.5) * width
            there, many = np.array(bins.counts) > 0, np.array(bins.counts) >= MANY
            for chosen, alpha, label in (
                (many, 0.7, "accuracy"),
                (there & ~many, 0.2, f"of fewer than {MANY} answers"),
            ):
                heights = np.array(bins.accuracies)[chosen]
                axis.bar(middles[chosen], heights, width=0.9 * width, color=colour, alpha=alpha, label=label)
            confidences = np.array(bins.confidences)[there]
            axis.plot(confidences, confidences, "k_", markersize=8, label="mean confidence")
            axis.set_title(f"{name}: calibration error {utility.calibration_error.value:.3f}", fontsize=10)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize=8, ncols=2)
    figure.suptitle(title, fontsize=11)
    return figure


def curves(log: Mapping[str, np.ndarray], *, title: str) -> Figure:
    """Each measurement of a training float64 [rounds] against the round, each below the other."""
    figure, axes = new_figure(WIDTH, 1.5 * len(log) + 0.5, rows=len(log))
    axes = np.atleast_1d(axes)
    for axis, (name, values) in zip(axes, log.items(), strict=True):
        axis.plot(np.arange(1, len(values) + 1), values, color=WITHOUT, marker="o" if len(values) < 2 else "")
        axis.set(ylabel=name)
    axes[-1].set_xlabel("round")
    figure.suptitle(title, fontsize=11)
    return figure


def image_grid(rows: dict[str, torch.Tensor], *, title: str) -> Figure:
    """Rows of images [n, C, H, W] in [0, 1], each row with its name."""
    columns = max(len(images) for images in rows.values())
    figure, axes = new_figure(0.6 * columns + 1.2, 0.62 * len(rows) + 0.5, rows=len(rows), columns=columns)
    for line, (name, images) in zip(np.atleast_2d(axes), rows.items(), strict=True):
        for axis, image in zip(line, images, strict=False):
            axis.imshow(
                image.permute(1, 2, 0).squeeze(2) if len(image) == 1 else image.permute(1, 2, 0),
                cmap="gray",
                vmin=0,
                vmax=1,
                interpolation="nearest",
            )
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def new_figure(width: float, height: float, *, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure that needs no display and no global state."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def save(figure: Figure, path: Path) -> None:
    storage.write_with(path, lambda file: figure.savefig(file, format="png", metadata=_PNG))
