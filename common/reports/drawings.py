"""The parts of a page that are seen, each with the same in words and numbers for those who do not see it."""

import numpy as np
import torch

from common.evaluation.judge import Verdict
from common.reports import page, pictures
from common.reports.cells import NOTHING
from common.reports.page import Block, Grid, Images
from common.reports.report_tables import strongest
from common.reports.results import Results
from common.reports.sides import ALONE
from common.reports.tables import Table
from common.runtime.images import to_float

EXPOSED, SHOWN = 10, 8  # images of a row


def roc(results: Results) -> list[Block]:
    said = []
    for name, part in results.parts.items():
        row = strongest(part)
        point = None if row is None else row.tpr_points.get("0.01")
        found = "" if point is None else f", finds {point.hits} of {point.of} members at 1 % false positives"
        said.append(f"{name}: {part.best.attack}, AUC {part.best.auc:.3f}{found}")
    return _picture(
        results,
        "roc",
        alt=f"ROC curves with both axes logarithmic. {'; '.join(said)}.",
        caption="How many training images the strongest attack finds (up) at how many false alarms (right); bands are "
        "95 % of resamples. In the grey part there is less than one false alarm.",
    )


def copies(results: Results) -> list[Block]:
    said = []
    for name, part in results.parts.items():
        by_queries = pictures.asked(part.attacks)
        aucs = ", ".join(f"{part.attacks[attack].auc:.3f} with {k}" for k, attack in by_queries.items())
        said.append(f"{name}: AUC {aucs}")
    return _picture(
        results,
        "copies",
        alt=f"AUC and TPR of the attack by near-copies against the number of queries an image. {'; '.join(said)}.",
        caption="What asking again is worth: the image and near-copies of it, each another draw of a fence's noise. "
        "Bands are 95 % intervals.",
    )


def phi(results: Results) -> list[Block]:
    said = []
    for name, side in results.sides.items():
        member, phi = side.test.observations.membership, side.test.phi
        said.append(f"{name}: mean {phi[member].mean():.2f} of members, {phi[~member].mean():.2f} of non-members")
    return _picture(
        results,
        "phi",
        alt=f"Histograms of phi, the logit of the greatest probability, of answers. {'; '.join(said)}.",
        caption="Where the two histograms lie apart, confidence gives members away; a fence is to make them alike.",
    )


def reliability(results: Results) -> list[Block]:
    said = [
        f"{name}: calibration error {part.utility.calibration_error.value:.3f}"
        for name, part in results.parts.items()
        if part.utility is not None
    ]
    shown = _picture(
        results,
        "reliability",
        alt=f"Accuracy against confidence of answers to new images. {'; '.join(said)}.",
        caption="Where bars meet the dotted line an answer is as sure as it is right.",
    )
    return shown if said else []


def exposed(results: Results) -> list[Block]:
    """The training images that the strongest attack without a fence is the surest of."""
    samples, indices = results.beside.samples, results.beside.indices
    by_side = {name: _shares(side) for name, side in results.sides.items()}
    if samples is None or indices is None or any(len(shares) != len(samples) for shares in by_side.values()):
        return []
    first = by_side[ALONE]
    places = np.argsort(-np.nan_to_num(first, nan=-1.0), kind="stable")[:EXPOSED]
    labels = samples.labels.numpy()
    named = [f"{indices[place]}, label {labels[place]}" for place in places]
    images = to_float(samples.images[torch.from_numpy(places)])
    shown = [(page.image(one), f"training image {name}") for one, name in zip(images, named, strict=True)]
    rows = [
        [
            name,
            *(f"{100 * shares[place]:.1f} %" if np.isfinite(shares[place]) else NOTHING for shares in by_side.values()),
        ]
        for name, place in zip(named, places, strict=True)
    ]
    caption = (
        "Of the other images, how many the strongest attack takes for a training image less readily than this one."
    )
    return [
        "The training images that the strongest attack without a fence is the surest of. They are chosen by the very "
        "answers that they are judged by, so chance has its share in it; shadow models tell more.",
        Images("The same images, left to right.", {"image": shown}),
        Grid(Table(caption, ["training image", *by_side], rows)),
    ]


def _shares(side: Verdict) -> np.ndarray:
    """Of members float64 [n] the share of non-members with a lesser score by the strongest attack; -1 of others."""
    judged = side.attacks[side.best_attack]
    scores = judged.of_every_sample
    member = side.test.observations.membership
    if len(scores) != len(member):  # judged on two roles together, as the published code does
        return np.empty(0)
    others = np.sort(scores[~member & np.isfinite(scores)])
    shares = np.searchsorted(others, scores, side="left") / len(others)
    shares[~np.isfinite(scores)] = np.nan
    return np.where(member, shares, -1.0)


def purified(results: Results) -> list[Block]:
    rows = results.beside.purified
    if not rows:
        return []
    shown = {
        name: [(page.image(one), f"image {number}, {name}") for number, one in enumerate(images[:SHOWN], start=1)]
        for name, images in rows.items()
    }
    step = results.main.config.get("diffence", {}).get("step")
    return [
        "The classifier behind the fence answers for reconstructions: the image is noised and the diffusion model "
        "denoises it.",
        Images(f"Training images x, noised to step {step}, and denoised.", shown),
    ]


def training(results: Results) -> list[Block]:
    blocks: list[Block] = []
    for name, log in results.beside.logs.items():
        said = "; ".join(f"{what} from {values[0]:.4g} to {values[-1]:.4g}" for what, values in log.items())
        rounds = len(next(iter(log.values())))
        figure = pictures.curves(log, title=name)
        blocks.append(
            page.drawn(figure, alt=f"Training of {name}, {rounds} rounds: {said}.", caption=f"{name}: {said}.")
        )
    return blocks


def _picture(results: Results, name: str, *, alt: str, caption: str) -> list[Block]:
    figure = results.figures.get(name)
    return [] if figure is None else [page.drawn(figure, alt=alt, caption=caption)]
