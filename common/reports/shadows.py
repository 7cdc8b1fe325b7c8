"""An audit by shadow models as a page, text and pictures, from the record alone."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from common.evaluation.shadow_record import OfAllModels, Rate, ShadowReport
from common.reports import page, pictures, tables
from common.reports.page import Block, Grid, Images, Page, Points, Section
from common.reports.tables import Table
from common.runtime import storage
from common.runtime.paths import PAGE

WIDTH = 120
NOTHING = "-"
NAMES = {"none": "alone", "paper": "paper's fence", "steady": "steady fence"}
BY = {"none": "without a fence", "paper": "with the paper's fence", "steady": "with the steady fence"}
BEHIND = {"shared": "one diffusion model, the target's", "own": "a diffusion model of their own each"}
READING = (
    "Each attack knows what shadow models answer behind the same fence, each with a rule of its own. Target: the AUC "
    "on the target's final test, with the middle 95 % of resamples. All models: each in its turn is the target, and "
    "the others but its twin are its shadow models; rates are of all their scores together, with 95 % intervals over "
    "the models. Epsilon: a lower bound by the target alone at a threshold fixed on the fitting role, with 95 % "
    "confidence if the samples of one model were independent; in brackets the greatest that so many samples could give."
)


def write(folder: Path, report: ShadowReport, pictured: Mapping[str, torch.Tensor]) -> str:
    """Write shadows.json, shadows.txt, report.html and the most vulnerable samples' images; the text.

    pictured:  of the most vulnerable, float [v, C, H, W] in [0, 1], by the name of the picture's row
    """
    said = text(report)
    with storage.staged_folders(folder, last="shadows.json") as (stage,):
        storage.write_text(stage / "shadows.txt", said)
        storage.write_text(stage / PAGE, page.render(of(report, pictured)))
        if report.vulnerable:
            title = f"{report.dataset}, {report.defense}: most vulnerable, left to right"
            pictures.save(pictures.image_grid(dict(pictured), title=title), stage / "vulnerable.png")
        storage.write_json(stage / "shadows.json", report.model_dump(mode="json", by_alias=True))
    return said


def of(report: ShadowReport, pictured: Mapping[str, torch.Tensor]) -> Page:
    """The page; ``pictured`` as for ``write``."""
    sections: dict[str, list[Block]] = {
        f"{NAMES[name].capitalize()}": list(_blocks(report, name)) for name in report.fences
    }
    sections["Proofs"] = [Points(_proofs(report))]
    sections["Most vulnerable images"] = _pictured(report, pictured) if report.vulnerable else []
    sections["Not tested"] = [Points(NOT_TESTED)]
    made = [["seed", str(report.seed)]]
    made += [[f"version of {name}", version] for name, version in report.versions.items()]
    made += [[f"samples, {role}", str(count)] for role, count in report.samples.items()]
    sections["Provenance"] = [Grid(Table("What these numbers were made with.", ["what", "value"], made))]
    return Page(
        title=f"Audit by shadow models: {report.dataset}, {report.defense} ({report.model})",
        verdict=_verdict(report),
        caveats=[_made(report), *report.notes, *(f"{each.rstrip('.')}." for each in READING.split(". "))],
        sections=[Section(title, blocks) for title, blocks in sections.items()],
    )


def _verdict(report: ShadowReport) -> str:
    """By the attack that the fitting role chose, each model being the target in its turn."""
    said = []
    for name, part in report.fences.items():
        row = part.attacks[part.chosen].models
        low, high = (f"{100 * end:.0f}" for end in row.auc_ci)
        said.append(f"{100 * row.auc:.0f} of 100 cases {BY[name]} (95 % sure: {low} to {high}; {part.chosen})")
    ranges = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return (
        f"Shown one training image and one other image, an attacker who trains {report.shadows} models like this one "
        f"picks the training image in {ranges}, where a coin gets 50."
    )


def _made(report: ShadowReport) -> str:
    return (
        f"{report.shadows} shadow models behind {BEHIND[report.diffusion]}; {report.samples['final_test']} samples; "
        f"test accuracy {report.test_accuracy:.3f}, mean of all models {report.mean_test_accuracy:.3f}."
    )


def _blocks(report: ShadowReport, fence: str) -> Iterator[Block]:
    part = report.fences[fence]
    caption = f"Attacks {BY[fence]}; the fitting role chose {part.chosen}."
    yield Grid(Table(caption, HEADER, list(_rows(report, fence))))
    if part.not_run:
        yield Grid(Table("Attacks that did not run.", ["attack", "why"], [list(each) for each in part.not_run.items()]))


def _pictured(report: ShadowReport, pictured: Mapping[str, torch.Tensor]) -> list[Block]:
    rows = {
        name: [
            (page.image(one), f"training image {each.index}, label {each.label}, {name}")
            for one, each in zip(images, report.vulnerable, strict=True)
        ]
        for name, images in pictured.items()
    }
    header = ["sample", *map(_named, report.fences)]
    separations = Grid(Table("Separation in standard deviations, behind each fence.", header, _worst(report)))
    shown = Images("The most vulnerable images, left to right, and a reconstruction of each.", rows)
    return [VULNERABLE, *([shown] if rows else []), separations]


def text(report: ShadowReport) -> str:
    """A table of attacks for each fence, the canaries, the bounds and the most vulnerable samples."""
    lines = [
        *textwrap.wrap(f"{report.dataset}, {report.defense} ({report.model}): {_made(report)}", WIDTH),
        *(line for note in report.notes for line in textwrap.wrap(note, WIDTH)),
        "",
        *textwrap.wrap(READING, WIDTH),
    ]
    for name, part in report.fences.items():
        lines += ["", f"{NAMES[name].capitalize()}, attack chosen on the fitting role: {part.chosen}"]
        lines.append(tables.text(HEADER, list(_rows(report, name))))
        lines += [f"{attack}  not run: {reason}" for attack, reason in part.not_run.items()]
    lines += ["", *_proofs(report)]
    if report.vulnerable:
        lines += [
            "",
            *textwrap.wrap(VULNERABLE, WIDTH),
            tables.text(("sample", *map(_named, report.fences)), _worst(report)),
        ]
    return "\n".join(lines) + "\n"


HEADER = (
    "attack",
    "target's AUC",
    "all models: AUC",
    "TPR at 0.1 % FPR",
    "TNR at 0.1 % FNR",
    "canaries: AUC",
    "TPR at 0.1 % FPR",
    "epsilon",
)
NOT_TESTED = (
    "Attackers who train more shadow models, or ask more often, than the tables say.",
    "Attackers who know more than answers: weights, the diffusion model.",
    "Images that no shadow model was asked about.",
)
VULNERABLE = (
    "Most vulnerable samples: found by half of the shadow models without a fence, measured by the other half. How far "
    "apart answers of models lie that were trained on it and that were not, in standard deviations."
)


def _named(name: str) -> str:
    return NAMES[name]


def _rows(report: ShadowReport, fence: str) -> Iterator[list[str]]:
    for name, row in report.fences[fence].attacks.items():
        bound = row.epsilon
        yield [
            name,
            f"{row.auc:.3f} [{row.auc_ci[0]:.3f}, {row.auc_ci[1]:.3f}]",
            f"{row.models.auc:.3f} [{row.models.auc_ci[0]:.3f}, {row.models.auc_ci[1]:.3f}]",
            _rate(row.models.tpr_at_fpr["0.001"]),
            _rate(row.models.tnr_at_fnr["0.001"]),
            NOTHING if row.canaries is None else f"{row.canaries.auc:.3f}",
            NOTHING if row.canaries is None else _of_canaries(row.canaries),
            f"{bound.lower_bound:.2f} [{bound.ceiling:.2f}]",
        ]


def _rate(rate: Rate) -> str:
    """In per cent; with a star where the allowed mistakes come to none."""
    star = "" if rate.mistakes >= 1 else "*"
    return f"{100 * rate.value:.1f} % [{100 * rate.interval[0]:.1f}, {100 * rate.interval[1]:.1f}]{star}"


def _of_canaries(row: OfAllModels) -> str:
    return _rate(row.tpr_at_fpr["0.001"])


def _proofs(report: ShadowReport) -> list[str]:
    lines = []
    if report.accounted is not None:
        lines.append(f"DP-SGD accounts for epsilon {report.accounted.epsilon:.2f} at delta {report.accounted.delta:g}")
    for name, part in report.fences.items():
        run = part.one_run
        if run is not None:
            lines.append(
                f"One run, {NAMES[name]}: {run.attack} guesses {run.guesses} of {run.canaries} canaries, {run.right} "
                f"right: epsilon at least {run.lower_bound:.2f} (at most {run.ceiling:.2f} could be shown)"
            )
    return [*lines, f"delta is {report.delta:g}; * no mistake among so few samples is less than the rate allows"]


def _worst(report: ShadowReport) -> list[list[str]]:
    rows = []
    for each in report.vulnerable:
        said = f"{each.index}, label {each.label}" + (" (wrong: a canary)" if each.canary else "")
        rows.append([said, *(f"{each.separations[name]:+.2f}" for name in report.fences)])
    return rows
