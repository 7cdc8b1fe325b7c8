"""What each departure of the published code from good practice is worth, one at a time, from the same candidates.

The start is the held-out protocol with DDPM's noising; each row switches one thing to its published form. All rows
take the best of the published evaluation's attacks and correctness, but for those that leave correctness out as it
does, so that none else differs by the choice of attacks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from common.attacks import ATTACKS
from common.evaluation.answers import FencedPopulation
from common.evaluation.judge import Pair, Verdict, difference, judge
from common.evaluation.protocols import HELD_OUT, PUBLISHED, Protocol, draw
from common.evaluation.record import Difference
from common.evaluation.run import Settings
from common.runtime import distributed
from common.runtime.modes import Noising

EPOCH = "trained attack's epoch by its test AUC"
START = replace(HELD_OUT, published_attacks=True, with_correctness=True, chooses=False)
DEPARTURES: dict[str, tuple[Protocol, Noising]] = {
    "forward noising": (START, "published"),
    "interval tuned on the scored samples": (replace(START, tuning=START.test), "ddpm"),
    "interval searched among reconstructions alone": (replace(START, published_search=True), "ddpm"),
    "threshold in hindsight": (replace(START, hindsight_threshold=True), "ddpm"),
    EPOCH: (replace(START, epoch_by_test_auc=True), "ddpm"),
    "correctness left out": (replace(START, with_correctness=False), "ddpm"),
    "fitting and test sets merged": (replace(START, merged_sets=True), "ddpm"),
    "all, on the published sets": (PUBLISHED, "published"),
}


@dataclass(frozen=True)
class Departures:
    """``model`` holds the settings that the defence was trained with."""

    dataset: str
    settings: Settings
    model: Mapping[str, Any]
    start: Pair
    departed: Mapping[str, Pair]  # by departure


def measure(
    fenced: Mapping[Noising, FencedPopulation],
    settings: Settings,
    *,
    model: Mapping[str, Any],
    dataset: str,
    seed: int,
) -> Departures | None:
    """Evaluate the start and every departure; the settings' own noising and protocols are not asked.

    Of several processes the first judges; the others get None.
    """
    cases: dict[str, tuple[Protocol, Noising]] = {"": (START, "ddpm"), **DEPARTURES}
    drawn = [
        draw(
            fenced[noising],
            protocol,
            settings.evaluation,
            fence=settings.fence.of(protocol.fence),
            desc=f"purify {settings.subject.defense}",
        )
        for protocol, noising in cases.values()
    ]
    if not distributed.is_first():
        return None
    start, *others = (judge(each, settings.evaluation, seed=seed) for each in drawn)
    return Departures(dataset, settings, model, start, dict(zip(DEPARTURES, others, strict=True)))


def changes(start: Verdict, departed: Verdict) -> tuple[Difference, Difference]:
    """What a departure adds to the greatest AUC and to the greatest balanced accuracy."""
    return (
        difference(departed.best.auc - start.best.auc, departed.greatest_aucs - start.greatest_aucs),
        difference(
            departed.best.balanced_accuracy - start.best.balanced_accuracy,
            departed.greatest_accuracies - start.greatest_accuracies,
        ),
    )


def of_attack(verdict: Verdict, name: str) -> Verdict:
    """The verdict of one attack alone."""
    return replace(verdict, attacks={name: verdict.attacks[name]})


def learning_attacks(pair: Pair) -> list[str]:
    """The attacks that are trained, of those that ran."""
    return [name for name, attack in ATTACKS.items() if attack.learns and name in pair.without.attacks]
