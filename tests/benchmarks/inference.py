"""Candidate banks and queries."""

from functools import partial

import torch

from common.diffence import rule
from common.diffence.fence import Diffence
from common.diffence.rule import Candidates, Interval
from common.runtime import device
from tests.benchmarks import models, plain
from tests.benchmarks.measure import Row, compared, rate, seconds

N = 30
IMAGES = 16
QUERIES = 64


def bank() -> list[Row]:
    """A full bank of candidates, against one candidate at a time with two passes each."""
    x = models.images(IMAGES)
    plain_seconds = plain_seconds_per_candidate() * N * IMAGES
    device.keep_freed_memory()
    rows = []
    for precision, target in (("fp32", "2.2 x"), ("bf16", "4 x")):
        fenced = Diffence(models.classifier(), models.denoiser(precision=precision), num_candidates=N)
        here = seconds(lambda fenced=fenced: fenced.candidates(x), repeat=2, warm=False)
        rows.append(compared(f"full bank, N = {N}, {precision}", plain=plain_seconds, here=here, target=target))
        noise, percent = torch.zeros_like(x), "85 %" if precision == "bf16" else ""
        with torch.no_grad():
            purify = partial(fenced.denoiser.purify, x, noise, step=plain.STEP)
            rows.append(rate(f"the diffusion model, {precision}", purify, precision=precision, target=percent))
    return rows


def plain_seconds_per_candidate() -> float:
    """Of the plain procedure: what two candidates more cost a batch, whose images are classified once in any case."""
    classifier, denoiser, x = models.classifier(fast=False), models.denoiser(fast=False), models.images(plain.BATCH)
    one, three = (seconds(partial(plain.candidates, classifier, denoiser, x, count=count)) for count in (1, 3))
    return (three - one) / 2 / plain.BATCH


def queries() -> list[Row]:
    """Answers with candidates drawn until one is accepted, against the plain procedure's full banks."""
    x = models.images(QUERIES)
    per_image = plain_seconds_per_candidate() * N
    device.keep_freed_memory()
    rows = []
    for precision, target in (("fp32", "15 x"), ("bf16", "25 x")):
        fenced = Diffence(models.classifier(), models.denoiser(precision=precision), num_candidates=N)
        fenced.rule = _accepting_half(fenced, x)
        here = seconds(lambda fenced=fenced: fenced(x), repeat=1, warm=False)
        what = f"{QUERIES} queries at an acceptance of one half, {precision}"
        rows.append(compared(what, plain=per_image * QUERIES, here=here, target=target))
    return [*rows, *passes()]


def single() -> list[Row]:
    """Queries of one image each: seconds, and passes made beside those that the selection needs."""
    x = models.images(QUERIES // 4)
    rows = []
    for precision, target in (("fp32", "0.25 s"), ("bf16", "")):
        fenced = Diffence(models.classifier(), models.denoiser(precision=precision), num_candidates=N)
        fenced.rule = _accepting_half(fenced, x)
        full = fenced.candidates(x)
        needed = float(rule.reconstructions_needed(full, fenced.rule).double().mean())
        made = sum(rows_asked(fenced, image[None]) for image in x) / len(x)
        here = seconds(lambda fenced=fenced: [fenced(image[None]) for image in x], repeat=1) / len(x)
        rows.append(Row(f"one query, seconds, {precision}", "", f"{here:.3f} s", "", target))
        what = f"  passes per query needed and made, {precision}"
        rows.append(Row(what, f"{needed:.2f}", f"{made:.2f}", f"{made / needed:.2f}", "1.3"))
    return rows


def _accepting_half(fenced: Diffence, x: torch.Tensor) -> Interval:
    """The lower part of the first candidates' phi, so that about one half of the candidates is accepted."""
    first = Diffence(fenced.classifier, fenced.denoiser, num_candidates=1).candidates(x)
    return Interval(float(first.phi[:, 0][first.keeps[:, 0]].min()) - 1, _middle_of_first(first))


def _middle_of_first(candidates: Candidates) -> float:
    """The phi below which one half of the first candidates is, if as many keep the label."""
    kept = candidates.phi[:, 0][candidates.keeps[:, 0]].sort().values
    return float(kept[min(len(kept) - 1, len(candidates) // 2)])


def passes() -> list[Row]:
    """Passes of the diffusion model per query, beside the number that the selection needs."""
    rows = []
    for count in (64, 512):
        x = models.images(count)
        fenced = Diffence(models.classifier(), models.denoiser(models.SMALL), num_candidates=N)
        full = fenced.candidates(x)
        fenced.rule = Interval(-100.0, _middle_of_first(full))
        acceptance = rule.accepted(full, fenced.rule).double().mean()
        needed = rule.reconstructions_needed(full, fenced.rule).double()
        asked = rows_asked(fenced, x)
        torch.testing.assert_close(fenced(x), rule.answer(full, fenced.rule).logits)
        rows.append(
            Row(
                f"passes per query needed and made, {count} CIFAR-shaped queries, acceptance {acceptance:.2f}",
                f"{needed.mean():.2f}",
                f"{asked / count:.2f}",
                f"{asked / float(needed.sum()):.2f}",
                "1.25",
            )
        )
    return rows


def rows_asked(fenced: Diffence, x: torch.Tensor) -> int:
    """Images that the diffusion model gets, those that fill a pass up included."""
    asked = []
    handle = fenced.denoiser.predict_noise.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
    fenced(x)
    handle.remove()
    return sum(asked)


def growth() -> list[Row]:
    """Seconds of a bank as images and candidates grow."""
    device.keep_freed_memory()
    rows = []
    for what, sizes in (("images", [(64, 10), (128, 10), (256, 10)]), ("candidates", [(64, 10), (64, 20), (64, 40)])):
        times = []
        for count, candidates in sizes:
            fenced = Diffence(models.classifier(), models.denoiser(models.SMALL), num_candidates=candidates)
            x = models.images(count)
            times.append(seconds(lambda fenced=fenced, x=x: fenced.candidates(x), repeat=2, warm=False))
        rows.append(
            Row(
                f"bank of twice and four times as many {what}",
                f"{times[0]:.2f} s",
                f"{times[1]:.2f} {times[2]:.2f}",
                f"{times[1] / times[0]:.1f} {times[2] / times[0]:.1f}",
                "linear: 2.0 4.0",
            )
        )
    return rows
