"""Table VII: a diffusion model that has seen more images, and the average of all reconstructions as the answer."""

from collections.abc import Sequence
from dataclasses import replace

from common.experiment import train_ddpm
from common.experiment.experiment import Experiment
from common.paper.bench import AS_PUBLISHED, Bench, Judged, mean
from common.paper.interface import Item, Made, Table
from common.reports.paper import Paper
from common.runtime.subject import Subject
from common.training.jobs import Job

DEFENSES = ("undefended", "advreg", "dpsgd", "selena", "relaxloss", "hamp")
ON_BOTH = {"ddpm": {"training.trained_on": "both"}}


def on_both(bench: Bench) -> Experiment:
    """As its diffusion model is trained on members and reference images."""
    return replace(bench.experiment, overrides={**bench.experiment.overrides, **ON_BOTH})


def diffusion(bench: Bench) -> list[Job]:
    return [train_ddpm.job(on_both(bench), bench.experiment.folder.ddpm.with_name("both.pt"))]


def stronger(bench: Bench) -> Bench:
    """The same behind a diffusion model that is trained on members and reference images; it is made if need be."""
    (job,) = diffusion(bench)
    train_ddpm.make(on_both(bench), job)
    return Bench(replace(bench.experiment, diffusion=job.path))


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    benches = [stronger(bench) for bench in benches]
    rows, first = [], None
    for defense in DEFENSES:
        found = []
        for bench in benches:
            average = bench.fence(scenario=3).with_measures(answer="average")
            found.append(bench.judged(Subject(defense=defense), AS_PUBLISHED, [average])[0])
        reported = paper.table7[defense]
        ours = [_three(found, side) for side in ("without", "fenced")]
        cells = []
        for place, values in enumerate((reported.test_accuracy, reported.accuracy, reported.auc)):
            cells += [_arrow(values), _arrow([side[place] for side in ours])]
        rows.append([defense, *cells])
        first = first or ours
    assert first is not None
    header = ["defence"]
    for what in ("test accuracy", "attack accuracy", "attack AUC"):
        header += [f"{what}: paper", "here"]
    undefended = paper.table7["undefended"]
    return Made(
        paper=f"AUC {_arrow(undefended.auc)}, test accuracy {_arrow(undefended.test_accuracy)}",
        ours=f"AUC {_arrow([side[2] for side in first])}, test accuracy {_arrow([side[0] for side in first])}",
        says=f"averaged answers change the undefended classifier's test accuracy by {first[1][0] - first[0][0]:+.1f} "
        f"points (paper: +1.8) and the best attack's AUC by {first[1][2] - first[0][2]:+.1f} (paper: -6.6)",
        tables=[Table("Without and with, per cent, as the paper's code computes attacks.", header, rows)],
        notes=["The diffusion model is trained on members and reference images; the paper's on all training images."],
    )


def _three(found: Sequence[Judged], side: str) -> tuple[float, float, float]:
    """Test accuracy, accuracy and AUC of the best attack, per cent."""
    parts = [getattr(each, side) for each in found]
    return (
        100 * mean([part.accuracy.test for part in parts]),
        100 * mean([part.best.balanced_accuracy for part in parts]),
        100 * mean([part.best.auc for part in parts]),
    )


def _arrow(values: Sequence[float]) -> str:
    return " -> ".join(f"{value:.1f}" for value in values)


ITEM = Item("Table VII: a stronger diffusion model, and averaged answers", DEFENSES, make, diffusion=diffusion)
