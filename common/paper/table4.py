"""Table IV: defences trained as in their own papers, each beside the undefended classifier of that paper's recipe."""

from collections.abc import Sequence

from common.experiment.experiment import Experiment
from common.paper import words
from common.paper.bench import AS_PUBLISHED, Bench, Case, Judged, mean
from common.paper.interface import Item, Made, Table
from common.reports.paper import Paper
from common.runtime.modes import OriginalSettings
from common.runtime.subject import Subject

SETTINGS: tuple[OriginalSettings, ...] = ("selena", "relaxloss", "hamp")
SCENARIO, CANDIDATES, STEP = 3, 10, 50


def trained(experiment: Experiment) -> list[tuple[Experiment, Subject]]:
    subjects = [
        Subject(defense=name, original=setting) for setting in SETTINGS for name in ("undefended", str(setting))
    ]
    return [(experiment, subject) for subject in subjects]


def cases(bench: Bench) -> list[Case]:
    """Behind the table's fence."""
    fence = bench.fence(scenario=SCENARIO, num_candidates=CANDIDATES, step=STEP)
    return [Case(bench, subject, AS_PUBLISHED, [fence]) for _, subject in trained(bench.experiment)]


def _cells(found: Sequence[Judged]) -> list[str]:
    """Accuracy on training and test samples, AUC and accuracy of the best attack without and with; per cent."""
    parts = [each.without for each in found]
    own = [mean([getattr(part.accuracy, side) for part in parts]) for side in ("train", "test")]
    aucs = [mean([getattr(each, side).best.auc for each in found]) for side in ("without", "fenced")]
    right = [mean([getattr(each, side).best.balanced_accuracy for each in found]) for side in ("without", "fenced")]
    return [" / ".join(_percent(own)), " -> ".join(_percent(aucs)), " -> ".join(_percent(right))]


def _percent(values: Sequence[float]) -> list[str]:
    return [f"{100 * value:.1f}" for value in values]


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    rows, changes, parts, tested = [], [], [], {}
    for of in zip(*map(cases, benches), strict=True):
        found, defense, setting = [case.only for case in of], of[0].subject.defense, of[0].subject.original
        assert setting is not None
        reported = paper.table4[setting][defense]
        theirs = [
            f"{reported.train:.1f} / {reported.test:.1f}",
            *(" -> ".join(f"{value:.1f}" for value in values) for values in (reported.auc, reported.accuracy)),
        ]
        paired = zip(theirs, _cells(found), strict=True)
        rows.append([f"{defense}, {setting}'s setting", *(cell for both in paired for cell in both)])
        changes.append(100 * mean([each.fenced.best.auc - each.without.best.auc for each in found]))
        parts += [part for each in found for part in each]
        tested[setting, defense] = _tested(found)
    header = ["classifier"]
    for what in ("train / test accuracy", "attack AUC", "attack accuracy"):
        header += [f"{what}: paper", "here"]
    first = paper.table4["selena"]["undefended"]
    return Made(
        paper=f"undefended, SELENA's setting: AUC {first.auc[0]:.1f} -> {first.auc[1]:.1f}",
        ours=f"AUC {rows[0][4]}",
        says=f"behind Diffence the best attack's AUC is {_lower(changes)} (paper: {_lower(_reported(paper))})"
        + _noise(changes, words.half_width(words.of_best(parts))),
        tables=[Table("Per cent, without Diffence and with it.", header, rows)],
        notes=[
            words.JUDGED[AS_PUBLISHED],
            "Recipes are those of common/configs/original/, but for what the dataset's own configs/original/ replaces. "
            "They say where an author's value is not known, how many members and which network the authors have: here "
            "these are the dataset folder's.",
            *(_baseline(setting, tested[setting, "undefended"], tested[setting, setting]) for setting in SETTINGS),
        ],
    )


def _tested(found: Sequence[Judged]) -> float:
    """Test accuracy, per cent."""
    return 100 * mean([each.without.accuracy.test for each in found if each.without.accuracy is not None])


def _reported(paper: Paper) -> list[float]:
    return [row.auc[1] - row.auc[0] for of in paper.table4.values() for row in of.values()]


def _lower(changes: Sequence[float]) -> str:
    """changes: of AUC, in points"""
    lower = [-change for change in changes if change < 0]
    return f"lower on {len(lower)} of {len(changes)} classifiers, by at most {max(lower, default=0):.1f} points"


def _noise(changes: Sequence[float], half: float | None) -> str:
    """What is said where every change is less than the 95 % interval of one AUC reaches to each side, in points."""
    most = max(map(abs, changes))
    if half is None or most >= half:
        return ""
    return (
        f". But no change here is above {most:.1f} points, and the 95 % interval of one AUC reaches {half:.1f} to each "
        "side: this is noise"
    )


def _baseline(setting: str, undefended: float, defended: float) -> str:
    """What the undefended classifier of a setting is, by test accuracy in per cent."""
    weak = (
        f", less than {words.NAMES[setting]}'s own {defended:.1f} %: a weak baseline" if undefended < defended else ""
    )
    return (
        f"undefended, {setting}'s setting: trained without a defence, as {words.NAMES[setting]}'s authors train what "
        f"they compare with (original/undefended_{setting}.yaml); its test accuracy here is {undefended:.1f} %{weak}."
    )


ITEM = Item(
    "Table IV: defences as in their own papers (scenario 3, N = 10, T = 50)",
    ("undefended",),
    make,
    of="CIFAR-100",
    others=trained,
    cases=cases,
    counts=words.scored_as_published,
)
