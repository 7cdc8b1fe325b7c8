"""Table VII: a diffusion model that has seen more images, and the average of all reconstructions as the answer."""

from collections.abc import Sequence
from dataclasses import replace

from common.experiment import train_ddpm
from common.experiment.experiment import Experiment
from common.paper import words
from common.paper.bench import AS_PUBLISHED, Bench, Case, Judged, mean
from common.paper.interface import Item, Made, OwnDiffusion, Table
from common.reports.paper import Paper
from common.runtime.subject import Subject

DEFENSES = ("undefended", "advreg", "dpsgd", "selena", "relaxloss", "hamp")
ON_BOTH = {"ddpm": {"training.trained_on": "both"}}


def on_both(bench: Bench) -> Experiment:
    """As its diffusion model is trained on members and reference images."""
    return replace(bench.experiment, overrides={**bench.experiment.overrides, **ON_BOTH})


def diffusion(bench: Bench) -> list[OwnDiffusion]:
    experiment = on_both(bench)
    return [OwnDiffusion(experiment, train_ddpm.job(experiment, bench.experiment.folder.ddpm.with_name("both.pt")))]


def cases(bench: Bench) -> list[Case]:
    """Behind a diffusion model that is trained on members and reference images, with the average as the answer."""
    (own,) = diffusion(bench)
    stronger = replace(bench, experiment=replace(bench.experiment, diffusion=own.job.path))
    average = stronger.fence(scenario=3).with_measures(answer="average")
    return [Case(stronger, Subject(defense=name), AS_PUBLISHED, [average]) for name in DEFENSES]


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    rows, first = [], None
    for defense, *of in zip(DEFENSES, *map(cases, benches), strict=True):
        found = [case.only for case in of]
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
        says="averaged answers in scenario 3, behind a diffusion model of more images, change the undefended "
        f"classifier's test accuracy by {first[1][0] - first[0][0]:+.1f} points (paper: "
        f"{_change(undefended.test_accuracy)}) and the best attack's AUC by {first[1][2] - first[0][2]:+.1f} (paper: "
        f"{_change(undefended.auc)}). {_ordinary(benches)}",
        tables=[Table("Without and with, per cent.", header, rows)],
        notes=[
            words.JUDGED[AS_PUBLISHED],
            words.RECIPES,
            f"Scenario 3, {words.fence(benches)}",
            "The diffusion model is trained on members and reference images; the paper's is a public one of all 50,000 "
            "training images.",
        ],
    )


def _ordinary(benches: Sequence[Bench]) -> str:
    """What the fence takes that table III has in scenario 3, where those verdicts were made."""
    found = [bench.kept(Subject(), AS_PUBLISHED, bench.fence(scenario=3)) for bench in benches]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return "What the ordinary fence takes by itself is in table III, scenario 3"
    change = 100 * mean([each.fenced.best.auc - each.without.best.auc for each in known])
    return f"The ordinary fence of table III, scenario 3, changes that AUC by {change:+.1f} by itself"


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


def _change(values: Sequence[float]) -> str:
    return f"{values[1] - values[0]:+.1f}"


ITEM = Item(
    "Table VII: a stronger diffusion model, and averaged answers",
    DEFENSES,
    make,
    of="CIFAR-10",
    diffusion=diffusion,
    cases=cases,
    counts=words.scored_as_published,
)
