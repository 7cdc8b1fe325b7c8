"""Figures 1 and 14: originals beside what the diffusion model makes of them."""

from collections.abc import Sequence

import torch

from common.diffusion import training
from common.paper.bench import Bench, mean
from common.paper.interface import Item, Made
from common.reports import pictures
from common.reports.paper import Paper
from common.runtime.images import to_float
from common.runtime.subject import Subject

SHOWN = 12  # members, and others


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    figures, errors = {}, []
    for bench in benches:
        experiment = bench.experiment
        denoiser = bench.models(Subject()).diffusion.denoiser
        part = experiment.partition
        kinds = {
            "members": experiment.training_part(part.members[:SHOWN]),
            "others": experiment.test_part(part.test_order[:SHOWN]),
        }
        for name, samples in kinds.items():
            x = to_float(samples.images)
            rows = training.show_purified(denoiser, x, step=experiment.fence_config.step, seed=experiment.seed)
            title = f"{bench.name}: {name} at T = {experiment.fence_config.step}"
            figures[f"{bench.name}-{name}"] = pictures.image_grid(rows, title=title)
            errors.append(float(torch.sqrt(((rows["denoised"] - rows["x"]) ** 2).mean())))
    error = mean(errors)
    return Made(
        paper="pictures alone",
        ours=f"root mean square difference {error:.2f}",
        says=f"reconstructions differ from their images by {error:.2f}, root mean square, on a scale of 0 to 1",
        figures=figures,
    )


ITEM = Item("Figures 1 and 14: originals and reconstructions", ("undefended",), make, of="CIFAR-10, CIFAR-100 and SVHN")
