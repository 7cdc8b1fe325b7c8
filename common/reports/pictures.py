"""Pictures: ROC curves, histograms of phi, and grids of images."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from common.attacks.near_copies import BY_QUERIES
from common.evaluation.judge import Verdict
from common.evaluation.record import Report
from common.evaluation.run import Evaluation
from common.runtime import storage
from common.statistics.bootstrap import Bootstrap

WITHOUT, WITH, STEADY = "#0072b2", "#d55e00", "#009e73"  # of Okabe and Ito, which any eye keeps apart
FENCES = {"held_out": "paper's fence", "published": "paper's fence", "steady": "steady fence"}  # by protocol
MANY = 10  # answers of a bin, from which on its accuracy says something
MEMBER, NON_MEMBER = "#cc79a7", "#009e73"
_PNG = {"Software": None}  # no version in the file: equal content, equal bytes


class Side(NamedTuple):
    """A verdict as pictures show it."""

    label: str
    colour: str
    marker: str
    verdict: Verdict


def sides(evaluation: Evaluation) -> list[Side]:
    """Without a fence, with that of the main protocol, and with the steady one where it is another."""
    main, steady = evaluation.main, evaluation.pairs.get("steady")
    found = [Side("without", WITHOUT, "s", main.without)]
    found.append(Side(FENCES[main.protocol.name], WITH, "o", main.fenced))
    if steady is not None and steady is not main:
        found.append(Side(FENCES["steady"], STEADY, "^", steady.fenced))
    return found


def roc(evaluation: Evaluation, *, title: str) -> Figure:
    """Log-log ROC curves of the best attack without and with the fences, with the 95 % bootstrap band of each."""
    figure, axes = new_figure(5.2, 4.8)
    member = evaluation.main.without.test.observations.membership
    kinds = np.bincount(member)
    least = 0.5 / int(kinds.max())
    fprs = np.geomspace(least, 1, 200)
    for label, colour, _, verdict in sides(evaluation):
        attack = verdict.best_attack
        judged = verdict.attacks[attack]
        tpr = Bootstrap.once(judged.scored.member).tprs(*judged.scored, fprs)[0]
        lo, hi = np.quantile(judged.bootstrap.tprs(*judged.scored, fprs), [0.025, 0.975], axis=0)
        name = f"{label}: {attack}, AUC {verdict.best.auc:.2f}"
        axes.plot(fprs, np.maximum(tpr, least), color=colour, label=name)
        axes.fill_between(fprs, np.maximum(lo, least), np.maximum(hi, least), color=colour, alpha=0.2, linewidth=0)
    axes.plot(fprs, fprs, color="grey", linestyle=":", label="guessing")
    one = 1 / int((~member).sum())
    axes.axvspan(least, one, color="grey", alpha=0.15, linewidth=0, label="less than one non-member")
    axes.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least, 1.05))
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=title)
    axes.legend(loc="lower right", fontsize=8)
    return figure


def phis(evaluation: Evaluation, *, title: str) -> Figure:
    """Histograms of phi of the answers to members and non-members, without (above) and with the fences (below)."""
    verdicts = [(side.label, side.verdict) for side in sides(evaluation)]
    figure, axes = new_figure(6.4, 2.8 * len(verdicts), rows=len(verdicts))
    values = {label: verdict.test.phi for label, verdict in verdicts}
    together = np.concatenate(list(values.values()))
    lo, hi = np.quantile(together, [0.002, 0.998])
    bins = np.linspace(lo, hi, 41)
    for axis, (label, verdict) in zip(axes, verdicts, strict=True):
        member = verdict.test.observations.membership
        for kind, chosen, colour in (("members", member, MEMBER), ("non-members", ~member, NON_MEMBER)):
            clipped = np.clip(values[label][chosen], bins[0], bins[-1])
            axis.hist(clipped, bins=bins, density=True, color=colour, alpha=0.55, label=f"{kind} ({chosen.sum()})")
        if verdict.interval is not None and np.isfinite(verdict.interval).all():
            for end in verdict.interval:
                axis.axvline(end, color="black", linestyle="--", linewidth=1)
            axis.plot([], [], color="black", linestyle="--", linewidth=1, label="interval")
        axis.set(ylabel="density", title=label, xlim=(bins[0], bins[-1]))
        axis.legend(fontsize=8)
    axes[-1].set_xlabel("phi = log p_top - log(1 - p_top) of the answer")
    figure.suptitle(title, fontsize=11)
    return figure


def near_copies(evaluation: Evaluation, *, title: str) -> Figure | None:
    """AUC (left) and TPR at 1 % FPR (right) against the number of near-copies, with 95 % bands; None without them."""
    ran = evaluation.main.fenced.attacks
    asked = {k: attack.name for k, attack in BY_QUERIES.items() if attack.name in ran}
    if len(asked) < 2:
        return None
    figure, axes = new_figure(7.6, 3.8, columns=2)
    for label, colour, marker, verdict in sides(evaluation):
        rows = [verdict.attacks[name].measured for name in asked.values()]
        points = [row.tpr_points["0.01"] for row in rows]
        curves = (
            ([row.auc for row in rows], [row.auc_ci for row in rows]),
            ([point.hits / point.of for point in points], [point.interval for point in points]),
        )
        for axis, (values, ends) in zip(axes, curves, strict=True):
            lo, hi = zip(*ends, strict=True)
            axis.plot(list(asked), values, color=colour, marker=marker, label=label)
            axis.fill_between(list(asked), lo, hi, color=colour, alpha=0.2, linewidth=0)
    for axis, name, guess in zip(axes, ("AUC", "TPR at 1 % FPR"), (0.5, 0.01), strict=True):
        axis.axhline(guess, color="grey", linestyle=":", label="guessing")
        axis.set(xscale="log", xticks=list(asked), xticklabels=list(asked), xlabel="queries an image", ylabel=name)
        axis.minorticks_off()
    axes[0].legend(fontsize=8)
    figure.suptitle(f"{title}: near-copies", fontsize=11)
    return figure


def reliability(without: Report, fenced: Report, *, title: str) -> Figure:
    """Accuracy against confidence of the answers to non-members, without (left) and with the fences (right)."""
    main = fenced.main
    parts = [("without", WITHOUT, without.protocols[main]), (FENCES[main], WITH, fenced.protocols[main])]
    if "steady" in fenced.protocols and main != "steady":
        parts.append((FENCES["steady"], STEADY, fenced.protocols["steady"]))
    figure, axes = new_figure(3.8 * len(parts), 4.0, columns=len(parts))
    for axis, (name, colour, part) in zip(axes, parts, strict=True):
        utility = part.utility
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
        axis.legend(fontsize=7, loc="upper left")
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
