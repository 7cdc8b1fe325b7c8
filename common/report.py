"""An evaluation as a table, as JSON and as pictures."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from common import storage
from common.attacks import metrics
from common.diffence import phi
from common.evaluation import Evaluation, Verdict
from common.experiment import Experiment

WITHOUT, WITH = "#0072b2", "#d55e00"  # blue and vermilion of Okabe and Ito, told apart by any eye
MEMBER, NON_MEMBER = "#cc79a7", "#009e73"
_PNG = {"Software": None}  # no version in the file: equal content, equal bytes


def write(experiment: Experiment, evaluation: Evaluation) -> str:
    """Write the two result folders, whole or not at all, and return the table."""
    settings = evaluation.settings
    text = table(evaluation)
    pictures = {"roc.png": roc_picture(evaluation), "phi.png": phi_picture(evaluation)}
    for verdict, suffix in ((evaluation.without, ""), (evaluation.fenced, "_w_diffence")):
        target = experiment.folder.results(model=settings.model, defense=settings.defense + suffix)
        with storage.staged_folder(target) as staging:
            storage.write_json(staging / "report.json", as_json(experiment, evaluation, verdict))
            storage.write_text(staging / "report.txt", text)
            for name, figure in pictures.items():
                save_figure(figure, staging / name)
    return text


def as_json(experiment: Experiment, evaluation: Evaluation, verdict: Verdict) -> dict[str, Any]:
    """report.json, schema 1."""
    settings = evaluation.settings
    interval = verdict.interval
    return {
        "schema": 1,
        "dataset": evaluation.dataset,
        "defense": settings.defense,
        "model": settings.model,
        "diffence": interval is not None,
        "interval": list(interval) if interval is not None and np.isfinite(interval).all() else None,
        "accuracy": verdict.accuracy,
        "label_agreement": verdict.label_agreement,
        "raw_answer_rate": verdict.raw_answer_rate,
        "protocols": {"held_out": {"attacks": verdict.measurements, "best": verdict.best}},
        "counts": evaluation.counts,
        # the diffusion model has seen the members without such a guarantee, and so has the tuned interval
        "privacy": evaluation.privacy if verdict.interval is None else None,
        "permutation": evaluation.membership.record,
        "config": {"diffence": settings.fence.model_dump(), "evaluation": settings.protocol.model_dump()},
        "seed": experiment.seed,
        "versions": _versions(),
        "inputs": evaluation.inputs,
        "seconds": evaluation.seconds,
    }


def _versions() -> dict[str, str]:
    packages = ("torch", "torchvision", "numpy", "scipy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


@dataclass(frozen=True)
class Difference:
    """AUC with Diffence less AUC without, on the same resamples."""

    value: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.interval[0]:+.3f}, {self.interval[1]:+.3f}]"


def auc_difference(evaluation: Evaluation, attack: str) -> Difference:
    """Of one attack."""
    without, fenced = evaluation.without, evaluation.fenced
    value = fenced.measurements[attack]["auc"] - without.measurements[attack]["auc"]
    return Difference(value, metrics.interval95(fenced.aucs[attack] - without.aucs[attack]))


def best_difference(evaluation: Evaluation) -> Difference:
    """Between the greatest AUC of any attack with Diffence and without."""
    without, fenced = evaluation.without, evaluation.fenced
    value = fenced.best["auc"] - without.best["auc"]
    return Difference(value, metrics.interval95(fenced.greatest_aucs - without.greatest_aucs))


def table(evaluation: Evaluation) -> str:
    """The table a user reads: attacks down, without and with Diffence across."""
    settings, without, fenced = evaluation.settings, evaluation.without, evaluation.fenced
    counts = evaluation.counts["final_test"]
    fence = settings.fence
    lines = [
        f"{evaluation.dataset}, {settings.defense} ({settings.model}), held-out protocol: "
        f"{counts['members']} members and {counts['non_members']} non-members in the final test",
        f"Diffence: N = {fence.num_candidates}, T = {fence.step}, scenario {fence.scenario}, "
        f"interval of phi {_interval(fenced)}",
        *_privacy_lines(evaluation.privacy),
        *evaluation.membership.lines,
        "",
        f"{'':<28}{'without Diffence':<42}{'with Diffence':<42}{'difference':<24}",
        f"{'attack':<28}" + f"{'AUC [95 %]':<23}{'bal.acc':>7}{'TPR@1%':>8}    " * 2 + "AUC [95 %, paired]",
    ]
    for name in without.scores:
        cells = "".join(f"{_cells(verdict, name)}    " for verdict in (without, fenced))
        lines.append(f"{name:<28}{cells}{auc_difference(evaluation, name)}")
    best = [without.best, fenced.best]
    lines += [
        "",
        f"{'accuracy, train / test':<28}"
        + "".join(f"{v.accuracy['train']:.4f} / {v.accuracy['test']:.4f}{'':<25}" for v in (without, fenced)),
        f"{'same label as raw':<28}{without.label_agreement:<42.4f}{fenced.label_agreement:<42.4f}",
        f"{'answered by raw logits':<28}{without.raw_answer_rate:<42.4f}{fenced.raw_answer_rate:<42.4f}",
        "",
        f"Best attack: AUC {_auc(best[0])} ({best[0]['attack']}) without Diffence, "
        f"{_auc(best[1])} ({best[1]['attack']}) with; "
        f"difference {best_difference(evaluation)}.",
        f"(A maximum over {len(without.scores)} attacks on one test set is too great by chance: by about "
        f"{best[0]['selection_bias']:.3f} without, {best[1]['selection_bias']:.3f} with.)",
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _privacy_lines(privacy: dict[str, float] | None) -> list[str]:
    """What DP-SGD spent, where it trained the classifier."""
    if privacy is None:
        return []
    return [f"DP-SGD: epsilon {privacy['epsilon']:.3g} at delta {privacy['delta']:g}, without Diffence only"]


def _interval(verdict: Verdict) -> str:
    assert verdict.interval is not None
    return f"[{verdict.interval.lo:.3f}, {verdict.interval.hi:.3f}]"


def _cells(verdict: Verdict, attack: str) -> str:
    row = verdict.measurements[attack]
    return f"{_auc(row):<23}{row['balanced_accuracy']:>7.3f}{row['tpr_at_fpr']['0.01']:>8.3f}"


def _auc(row: dict[str, Any]) -> str:
    return f"{row['auc']:.3f} [{row['auc_ci'][0]:.3f}, {row['auc_ci'][1]:.3f}]"


def roc_picture(evaluation: Evaluation) -> Figure:
    """Log-log ROC curves of the best attack without and with Diffence, with the 95 % bootstrap band of each."""
    figure, axes = _figure(5.2, 4.8)
    member = evaluation.without.test.member
    least = 0.5 / max(int((~member).sum()), int(member.sum()))
    fprs = np.geomspace(least, 1, 200)
    verdicts = (("without Diffence", WITHOUT, evaluation.without), ("with Diffence", WITH, evaluation.fenced))
    for label, colour, verdict in verdicts:
        attack = verdict.best["attack"]
        scores = verdict.scores[attack]
        tpr = metrics.Bootstrap.once(member).tprs(scores, member, fprs)[0]
        lo, hi = np.quantile(evaluation.bootstrap.tprs(scores, member, fprs), [0.025, 0.975], axis=0)
        auc = metrics.auc(scores, member)
        axes.plot(fprs, np.maximum(tpr, least), color=colour, label=f"{label}: {attack}, AUC {auc:.2f}")
        axes.fill_between(fprs, np.maximum(lo, least), np.maximum(hi, least), color=colour, alpha=0.2, linewidth=0)
    axes.plot(fprs, fprs, color="grey", linestyle=":", label="guessing")
    axes.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least, 1.05))
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=_title(evaluation))
    axes.legend(loc="lower right", fontsize=8)
    return figure


def phi_picture(evaluation: Evaluation) -> Figure:
    """Histograms of phi of the answers to members and non-members, without (above) and with Diffence (below)."""
    figure, axes = _figure(6.4, 5.6, rows=2)
    verdicts = (("without Diffence", evaluation.without), ("with Diffence", evaluation.fenced))
    values = {label: phi(torch.from_numpy(verdict.test.logits)).numpy() for label, verdict in verdicts}
    together = np.concatenate(list(values.values()))
    lo, hi = np.quantile(together, [0.002, 0.998])
    bins = np.linspace(lo, hi, 41)
    for axis, (label, verdict) in zip(axes, verdicts, strict=True):
        member = verdict.test.member
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
    figure.suptitle(_title(evaluation), fontsize=11)
    return figure


def _title(evaluation: Evaluation) -> str:
    return f"{evaluation.dataset}, {evaluation.settings.defense} ({evaluation.settings.model})"


def image_grid(rows: dict[str, torch.Tensor], *, title: str) -> Figure:
    """Rows of images [n, C, H, W] in [0, 1], each row with its name."""
    columns = max(len(images) for images in rows.values())
    figure, axes = _figure(0.6 * columns + 1.2, 0.62 * len(rows) + 0.5, rows=len(rows), columns=columns)
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


def _figure(width: float, height: float, *, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure that needs no display and no global state."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def save_figure(figure: Figure, path: Path) -> None:
    storage.write_with(path, lambda file: figure.savefig(file, format="png", metadata=_PNG))
