"""Figure 13: the same classifiers behind a diffusion model of other data.

The paper's is the unconditional one of ImageNet, which `reproduce.sh --other-diffusion PATH` gives. For datasets that
are not the paper's a small one is trained on patches of scikit-learn's two photographs, in colour and of another size.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_sample_images

from common.experiment import train_ddpm
from common.paper import words
from common.paper.bench import AS_PUBLISHED, Bench, Case
from common.paper.interface import Item, Made, OwnDiffusion, Table
from common.paper.table3 import DEFENSES, best, both
from common.reports.paper import PAPER_DATASETS, Paper
from common.runtime.subject import Subject
from common.training.jobs import Job

SCENARIO, CANDIDATES, STEP = 3, 10, 200  # the paper's
SIDE, STRIDE = 16, 8  # of the patches
FULL_RESOLUTION = ("celeba", "utkface")  # of figure 8
HEADER = ("defence", "alone", "with Diffence")


def patches() -> torch.Tensor:
    """Of the two photographs that come with scikit-learn: uint8 [n, 3, SIDE, SIDE]."""
    found = []
    for photograph in load_sample_images().images:
        windows = np.lib.stride_tricks.sliding_window_view(photograph, (SIDE, SIDE), axis=(0, 1))
        found.append(windows[::STRIDE, ::STRIDE].reshape(-1, 3, SIDE, SIDE))
    return torch.from_numpy(np.concatenate(found).copy())


def lacks(bench: Bench) -> str | None:
    """Of the paper's datasets, the diffusion model of other data that must be given; digits has a stand-in."""
    if bench.other is not None or bench.name not in (*PAPER_DATASETS, *FULL_RESOLUTION):
        return None
    return (
        f"figures 8 and 13 of {bench.name} need a diffusion model of other data: --other-diffusion PATH, such as "
        "that of ImageNet, 256x256_diffusion_uncond.pt (docs/evaluation.md, another diffusion model)"
    )


def diffusion(bench: Bench) -> list[OwnDiffusion]:
    """A small one of photographs, where none of other data is given."""
    if bench.other is not None:
        return []
    own = train_ddpm.job(bench.experiment, bench.experiment.folder.ddpm.with_name("photographs.pt"))
    of_patches = own.made_from.model_copy(update={"dataset": "photographs", "partition": "patches"})
    return [OwnDiffusion(bench.experiment, Job(own.path, of_patches), patches)]


def cases(bench: Bench) -> list[Case]:
    path = bench.other or diffusion(bench)[0].job.path
    other = replace(bench, experiment=replace(bench.experiment, diffusion=path))
    fence = other.fence(scenario=SCENARIO, num_candidates=CANDIDATES, step=STEP)
    return [Case(other, Subject(defense=name), AS_PUBLISHED, [fence]) for name in DEFENSES]


class Falls(NamedTuple):
    """By how many per cent of its value the best attack falls, mean over the defences; and a row for each of them.

    aucs:  the means over all defences, and over all but HAMP
    """

    aucs: tuple[float, float]
    accuracy: float
    rows: Sequence[Sequence[str]]


def measured(benches: Sequence[Bench]) -> Falls:
    rows, falls = [], {}
    for defense, *of in zip(DEFENSES, *map(cases, benches), strict=True):
        found = [case.only for case in of]
        alone, fenced = (best([getattr(each, side) for each in found]) for side in ("without", "fenced"))
        falls[defense] = [words.share(before, after) for before, after in zip(alone, fenced, strict=True)]
        rows.append([defense, both(alone), both(fenced)])
    aucs, (accuracy, _) = (words.means({name: of[place] for name, of in falls.items()}) for place in (0, 1))
    return Falls(aucs, accuracy, rows)


def notes(benches: Sequence[Bench]) -> list[str]:
    given = {bench.other.name for bench in benches if bench.other is not None}
    trained = f"{', '.join(given)} (--other-diffusion)" if given else "patches of two photographs, 16x16 in colour"
    of_ours = f"The diffusion model: {trained}; the paper's: ImageNet, 256x256."
    return [words.JUDGED[AS_PUBLISHED], words.RECIPES, of_ours, "Scenario 3, N = 10, T = 200, as in the paper."]


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    aucs, accuracy, rows = measured(benches)
    return Made(
        paper=f"AUC {words.falls(paper.figure13.auc)}, accuracy {words.falls(paper.figure13.accuracy)}",
        ours=f"AUC {words.falls_and(*aucs)}, accuracy {words.falls(accuracy)}",
        says=f"behind a diffusion model of other data the best attack's AUC {words.falls_and(*aucs)}, mean over the "
        "defences; HAMP's test-time step is on here and off in the paper",
        tables=[Table("AUC / accuracy of the best attack, per cent.", HEADER, rows)],
        notes=notes(benches),
    )


ITEM = Item(
    "Figure 13: a diffusion model of other data",
    DEFENSES,
    make,
    of=words.AVERAGED,
    diffusion=diffusion,
    cases=cases,
    lacks=lacks,
    counts=words.scored_as_published,
)
