"""Figure 12: other classifiers than ResNet-18, alone and behind Diffence in scenario 1."""

from collections.abc import Sequence
from dataclasses import replace

from common.experiment.experiment import Experiment
from common.paper import words
from common.paper.bench import AS_PUBLISHED, Bench, Case, mean
from common.paper.interface import Item, Made, Table
from common.paper.table3 import DEFENSES, best, both
from common.reports import charts
from common.reports.paper import Paper
from common.runtime.subject import Subject

MODELS = ("densenet121", "vgg16_bn", "vit")
LEARNING_RATE = {"vit": 1e-4}  # the paper's, where it is another than 1e-3
NOTHING = "-"


def defenses(model: str) -> list[str]:
    """The paper trains no ViT with DP-SGD."""
    return [name for name in DEFENSES if (model, name) != ("vit", "dpsgd")]


def trained(experiment: Experiment) -> list[tuple[Experiment, Subject]]:
    found = []
    for model in MODELS:
        for name in defenses(model):
            own = experiment
            if model in LEARNING_RATE and name != "memguard":  # whose own rate is that of its defence classifier
                given = {**own.overrides.get(name, {}), "learning_rate": LEARNING_RATE[model]}
                own = replace(own, overrides={**own.overrides, name: given})
            found.append((own, Subject(model, name)))
    return found


def cases(bench: Bench) -> list[Case]:
    fences = [bench.fence(scenario=1)]
    return [Case(bench, subject, AS_PUBLISHED, fences) for _, subject in trained(bench.experiment)]


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    rows, falls, figures = [], {}, {}
    notes = [f"Scenario 1, {words.fence(benches)}", words.JUDGED[AS_PUBLISHED], words.RECIPES]
    notes += ["The paper trains no ViT with DP-SGD, and neither does this."]
    by_subject = [{(case.subject.model, case.subject.defense): case.only for case in cases(bench)} for bench in benches]
    for model in MODELS:
        alone, fenced = [], []
        for name in defenses(model):
            found = [judged[model, name] for judged in by_subject]
            alone.append(best([each.without for each in found]))
            fenced.append(best([each.fenced for each in found]))
            rows.append([f"{name} ({model})", both(alone[-1]), both(fenced[-1])])
        of = dict(zip(defenses(model), zip(alone, fenced, strict=True), strict=True))
        if of["relaxloss"] == of["undefended"]:
            notes.append(
                f"{model}: RelaxLoss came out as undefended did; it acts where the loss falls below its alpha."
            )
        falls[model] = [_fall(alone, fenced, place) for place in (0, 1)]
        bars = {"alone": [auc for auc, _ in alone], "with Diffence": [auc for auc, _ in fenced]}
        label = f"{model}: AUC of the best attack, %"
        figures[model] = charts.bars(defenses(model), bars, marks={}, label=label, floor=50)
    by_model = []
    for model, ours in falls.items():
        reported = paper.figure12.get(model)
        theirs = [NOTHING, NOTHING] if reported is None else [f"{reported.auc:.1f}", f"{reported.accuracy:.1f}"]
        by_model.append([model, theirs[0], f"{ours[0]:.1f}", theirs[1], f"{ours[1]:.1f}"])
    header = ["classifier", "AUC falls by: paper, %", "here", "accuracy falls by: paper, %", "here"]
    shown = ", ".join(f"{model} {words.falls(ours[0])}" for model, ours in falls.items())
    return Made(
        paper="AUC: " + ", ".join(f"{model} {words.falls(reported.auc)}" for model, reported in paper.figure12.items()),
        ours=f"AUC: {shown}",
        says=f"the best attack's AUC, on the mean over the defences: {shown}",
        tables=[
            Table("By how many per cent of its value the best attack falls, mean over the defences.", header, by_model),
            Table("AUC / accuracy of the best attack, per cent.", ["classifier", "alone", "with Diffence"], rows),
        ],
        figures=figures,
        notes=notes,
    )


def _fall(alone: Sequence[Sequence[float]], fenced: Sequence[Sequence[float]], place: int) -> float:
    return mean([words.share(before[place], after[place]) for before, after in zip(alone, fenced, strict=True)])


ITEM = Item(
    "Figure 12: other classifiers",
    ("undefended",),
    make,
    of="CIFAR-10",
    others=trained,
    cases=cases,
    counts=words.scored_as_published,
)
