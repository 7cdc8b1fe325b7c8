"""What each departure of the published code from good practice is worth, one at a time, from the same candidates.

The start is the held-out protocol with DDPM's noising; each row switches one thing to its published form. All rows
take the best of the attacks that the published evaluation has, so that none differs by the choice of attacks.
"""

from dataclasses import dataclass, replace

import numpy as np

from common import distributed, evaluation, protocols, tables
from common.attacks import metrics, suite
from common.config import Noising
from common.evaluation import Settings
from common.experiment import Experiment
from common.protocols import HELD_OUT, PUBLISHED, Difference, Pair, Protocol, Verdict

NN_EPOCH = "NN attack's epoch by its test AUC"
START = replace(HELD_OUT, attacks=suite.PUBLISHED)
DEPARTURES: dict[str, tuple[Protocol, Noising]] = {
    "forward noising": (START, "published"),
    "interval tuned on the scored samples": (replace(START, tuning=START.test), "ddpm"),
    "threshold in hindsight": (replace(START, hindsight_threshold=True), "ddpm"),
    NN_EPOCH: (replace(START, epoch_by_test_auc=True), "ddpm"),
    "fitting and test sets merged": (replace(START, merged_sets=True), "ddpm"),
    "all, on the published sets": (PUBLISHED, "published"),
}
HEADER = ("departure", "AUC without", "accuracy without", "AUC with Diffence", "accuracy with Diffence")


@dataclass(frozen=True)
class Departures:
    dataset: str
    settings: Settings
    start: Pair
    departed: dict[str, Pair]  # by departure


def measure(experiment: Experiment, settings: Settings) -> Departures | None:
    """Evaluate the start and every departure; the settings' own noising and protocols are not asked.

    Of several processes the first judges; the others get None.
    """
    evaluation.require_inputs(experiment, model=settings.model, defense=settings.defense)
    defended = evaluation.load_classifier(experiment, model=settings.model, defense=settings.defense)
    noisings: tuple[Noising, ...] = ("ddpm", "published")
    stores = {
        noising: evaluation.bank_store(experiment, _with_noising(settings, noising), defended) for noising in noisings
    }
    start = evaluation.draw(stores["ddpm"], START, settings)
    drawn = {
        name: evaluation.draw(stores[noising], protocol, settings) for name, (protocol, noising) in DEPARTURES.items()
    }
    if not distributed.is_first():
        return None
    first, *others = (
        protocols.judge(each, settings.evaluation, seed=experiment.seed) for each in (start, *drawn.values())
    )
    return Departures(experiment.folder.name, settings, first, dict(zip(drawn, others, strict=True)))


def _with_noising(settings: Settings, noising: Noising) -> Settings:
    return replace(settings, fence=settings.fence.model_copy(update={"noising": noising}))


def table(measured: Departures, *, style: str = "text") -> str:
    """The start's values, and for every departure how much is added to them, with 95 % intervals.

    The intervals are of resamples that start and departure share, as far as they are judged on the same samples.
    """
    settings, start = measured.settings, measured.start
    rows = [("none: held out, ddpm", *_cells(start.without), *_cells(start.fenced))]
    for name, pair in measured.departed.items():
        rows.append((name, *_changes(start.without, pair.without), *_changes(start.fenced, pair.fenced)))
        if name == NN_EPOCH:  # which the best of all attacks need not show
            nn = [_nn_only(each) for each in (start.without, pair.without, start.fenced, pair.fenced)]
            rows.append(("… in the NN attack itself", *_changes(*nn[:2]), *_changes(*nn[2:])))
    whose = f"{measured.dataset}, {settings.defense} ({settings.model})"
    title = f"{whose}: what each departure of the published code is worth, best of {len(START.attacks)} attacks"
    return f"{title}\n\n{tables.STYLES[style](HEADER, rows)}\n"


def _cells(verdict: Verdict) -> tuple[str, str]:
    return f"{verdict.best['auc']:.3f}", f"{verdict.best['balanced_accuracy']:.3f}"


def _nn_only(verdict: Verdict) -> Verdict:
    return replace(verdict, attacks={"nn": verdict.attacks["nn"]})


def _changes(start: Verdict, departed: Verdict) -> tuple[str, str]:
    resampled = {
        "auc": departed.greatest_aucs - start.greatest_aucs,
        "balanced_accuracy": departed.greatest_accuracies - start.greatest_accuracies,
    }
    auc, accuracy = (_change(start.best[name], departed.best[name], values) for name, values in resampled.items())
    return str(auc), str(accuracy)


def _change(start: float, departed: float, resampled: np.ndarray) -> Difference:
    return Difference(departed - start, metrics.interval95(resampled))
