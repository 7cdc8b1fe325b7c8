"""An evaluation as a table and as JSON."""

import platform
from importlib.metadata import version
from typing import Any

import numpy as np

from common import pictures, storage
from common.evaluation import Evaluation
from common.experiment import Experiment
from common.protocols import HELD_OUT, PUBLISHED, Pair, Verdict

TITLES = {HELD_OUT.name: "held-out protocol", PUBLISHED.name: "published protocol"}
WARNING = (
    "What the paper's code computes, for comparison only: the interval is tuned on samples that are scored, and "
    "thresholds and the NN attack's epoch are picked on them too."
)


def write(experiment: Experiment, evaluation: Evaluation) -> str:
    """Write the two result folders, whole or not at all, and return the table."""
    settings = evaluation.settings
    text = table(evaluation)
    title = f"{evaluation.dataset}, {settings.defense} ({settings.model})"
    figures = {
        "roc.png": pictures.roc(evaluation.main, title=title),
        "phi.png": pictures.phis(evaluation.main, title=title),
    }
    for fenced, suffix in ((False, ""), (True, "_w_diffence")):
        target = experiment.folder.results(model=settings.model, defense=settings.defense + suffix)
        with storage.staged_folder(target) as staging:
            storage.write_json(staging / "report.json", as_json(experiment, evaluation, fenced=fenced))
            storage.write_text(staging / "report.txt", text)
            for name, figure in figures.items():
                pictures.save(figure, staging / name)
    return text


def as_json(experiment: Experiment, evaluation: Evaluation, *, fenced: bool) -> dict[str, Any]:
    """report.json, schema 1: outside of "protocols" stands what holds under the main one."""
    settings = evaluation.settings
    main = evaluation.main.fenced if fenced else evaluation.main.without
    return {
        "schema": 1,
        "dataset": evaluation.dataset,
        "defense": settings.defense,
        "model": settings.model,
        "diffence": fenced,
        **_service(main),
        "protocols": {name: _under_protocol(pair, fenced=fenced) for name, pair in evaluation.pairs.items()},
        "counts": evaluation.counts,
        # the diffusion model has seen the members without such a guarantee, and so has the tuned interval
        "privacy": None if fenced else evaluation.privacy,
        "permutation": evaluation.membership.record,
        "config": {"diffence": settings.fence.model_dump(), "evaluation": settings.evaluation.model_dump()},
        "seed": experiment.seed,
        "versions": _versions(),
        "inputs": evaluation.inputs,
        "seconds": evaluation.seconds,
    }


def _service(verdict: Verdict) -> dict[str, Any]:
    interval = verdict.interval
    return {
        "interval": list(interval) if interval is not None and np.isfinite(interval).all() else None,
        "accuracy": verdict.accuracy,
        "label_agreement": verdict.label_agreement,
        "raw_answer_rate": verdict.raw_answer_rate,
        "reconstructions_per_query": verdict.reconstructions_per_query,
    }


def _under_protocol(pair: Pair, *, fenced: bool) -> dict[str, Any]:
    verdict = pair.fenced if fenced else pair.without
    content = {"attacks": verdict.measurements, "best": verdict.best, **_service(verdict)}
    return {**content, "reduction": pair.reduction} if fenced else content


def _versions() -> dict[str, str]:
    packages = ("torch", "torchvision", "numpy", "scipy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def table(evaluation: Evaluation) -> str:
    """The table a user reads: attacks down, without and with Diffence across; a second protocol in a block below."""
    main = evaluation.main
    lines = [*_heading(evaluation), "", *_attack_rows(main), "", *_service_rows(main), "", *_best_lines(main)]
    for pair in evaluation.pairs.values():
        if pair is not main:
            lines += ["", *_block(pair)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _heading(evaluation: Evaluation) -> list[str]:
    settings, pair = evaluation.settings, evaluation.main
    fence, counts = settings.fence, evaluation.counts[pair.protocol.test]
    noising = "" if fence.noising == "ddpm" else f", {fence.noising} noising"
    return [
        f"{evaluation.dataset}, {settings.defense} ({settings.model}), {TITLES[pair.protocol.name]}: "
        f"{counts['members']} members and {counts['non_members']} non-members in the final test",
        f"Diffence: N = {fence.num_candidates}, T = {fence.step}{noising}, scenario {fence.scenario}, "
        f"interval of phi {_interval(pair.fenced)}",
        *_privacy_lines(evaluation.privacy),
        *evaluation.membership.lines,
        *([WARNING] if pair.protocol is PUBLISHED else []),
    ]


def _attack_rows(pair: Pair) -> list[str]:
    lines = [
        f"{'':<28}{'without Diffence':<42}{'with Diffence':<42}{'difference':<24}",
        f"{'attack':<28}" + f"{'AUC [95 %]':<23}{'bal.acc':>7}{'TPR@1%':>8}    " * 2 + "AUC [95 %, paired]",
    ]
    for name in pair.without.attacks:
        cells = "".join(f"{_cells(verdict, name)}    " for verdict in (pair.without, pair.fenced))
        lines.append(f"{name:<28}{cells}{pair.auc_difference(name)}")
    return lines


def _service_rows(pair: Pair) -> list[str]:
    """What the fence costs its users."""
    without, fenced = pair.without, pair.fenced
    return [
        f"{'accuracy, train / test':<28}"
        + "".join(f"{v.accuracy['train']:.4f} / {v.accuracy['test']:.4f}{'':<25}" for v in (without, fenced)),
        f"{'same label as raw':<28}{without.label_agreement:<42.4f}{fenced.label_agreement:<42.4f}",
        f"{'answered by raw logits':<28}{without.raw_answer_rate:<42.4f}{fenced.raw_answer_rate:<42.4f}",
        f"{'reconstructions per query':<28}"
        + "".join(f"{v.reconstructions_per_query:<42.2f}" for v in (without, fenced)),
    ]


def _best_lines(pair: Pair) -> list[str]:
    without, fenced = pair.without.best, pair.fenced.best
    return [
        f"Best attack: AUC {_auc(without)} ({without['attack']}) without Diffence, "
        f"{_auc(fenced)} ({fenced['attack']}) with; "
        f"difference {pair.best_difference()}.",
        f"(A maximum over {len(pair.without.attacks)} attacks on one test set is too great by chance: by about "
        f"{without['selection_bias']:.3f} without, {fenced['selection_bias']:.3f} with.)",
        *_inverted_lines(pair),
    ]


def _inverted_lines(pair: Pair) -> list[str]:
    """What an attacker gets who turns the sign of an attack that fails more surely than chance does."""
    lines = []
    for title, verdict in (("Without", pair.without), ("With", pair.fenced)):
        attack, row = min(verdict.measurements.items(), key=lambda item: item[1]["auc"])
        if row["auc_ci"][1] < 0.5:
            lines.append(
                f"NOTE: {title} Diffence {attack} has AUC {_auc(row)}: members get the lower scores, and an attacker "
                f"who turns the sign has {1 - row['auc']:.3f}, which is not counted as an attack here."
            )
    return lines


def _block(pair: Pair) -> list[str]:
    """A protocol in brief: a row for each attack, and the best."""
    verdicts = (pair.without, pair.fenced)
    titles = "".join(f"{title:<28}" for title in ("without Diffence", "with Diffence"))
    lines = [
        f"{TITLES[pair.protocol.name].capitalize()}, interval of phi {_interval(pair.fenced)}.",
        WARNING,
        f"{'':<28}{titles}",
        f"{'attack':<28}" + f"{'AUC':>5}{'accuracy':>10}{'TPR@.1%':>9}    " * 2,
    ]
    for name in pair.without.attacks:
        lines.append(f"{name:<28}" + "".join(_brief_cells(verdict.measurements[name]) for verdict in verdicts))
    lines.append(
        f"{'best':<28}" + "".join(f"{v.best['auc']:.3f}{v.best['balanced_accuracy']:>10.3f}{'':<13}" for v in verdicts)
    )
    return lines


def _brief_cells(row: dict[str, Any]) -> str:
    return f"{row['auc']:.3f}{row['balanced_accuracy']:>10.3f}{row['tpr_at_fpr']['0.001']:>9.3f}    "


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
