"""What each measure of a fence is worth, alone and together, against the whole attack suite."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from common.diffence.measures import Fence
from common.evaluation.answers import FencedPopulation
from common.evaluation.judge import Verdict, judge
from common.evaluation.protocols import HELD_OUT, Drawn, draw
from common.evaluation.record import UnderProtocol
from common.evaluation.run import Settings, under_protocol
from common.runtime import distributed

MEASURES: dict[str, dict[str, Any]] = {
    "the paper's fence": {},
    "interval by Kolmogorov-Smirnov": {"criterion": "ks"},
    "shared noise": {"noise": "shared"},
    "matched answers": {"selection": "matched"},
    "exact answers": {"selection": "exact"},
    "constant work": {"work": "constant"},
    "shared noise, matched answers": {"noise": "shared", "selection": "matched"},
    "shared noise, exact answers": {"noise": "shared", "selection": "exact"},
    "shared noise, exact answers, constant work": {"noise": "shared", "selection": "exact", "work": "constant"},
    "the label alone": {"answer": "label"},
    "averaged answers, of 8": {"answer": "average", "work": "constant", "num_candidates": 8},
}
"""Changes of the paper's fence."""


def measure(
    fenced: Callable[[Fence], FencedPopulation],
    settings: Settings,
    *,
    seed: int,
    cases: Mapping[str, Mapping[str, Any]] = MEASURES,
) -> dict[str, UnderProtocol] | None:
    """The classifier alone under "none", and behind the paper's fence with the changes of each case.

    Of several processes the first judges; the others get None.
    """
    protocol = replace(HELD_OUT, chosen=settings.protocols[0].chosen, chooses=False)
    found: dict[str, UnderProtocol] = {}
    first: Drawn | None = None
    without: Verdict | None = None
    for name, changes in cases.items():
        fence = settings.fence.of("paper").with_measures(**changes)
        drawn = draw(
            fenced(fence),
            protocol,
            settings.evaluation,
            fence=fence,
            desc=f"purify {settings.subject.defense}, {name}",
            before=[first] if first else [],
        )
        first = first or drawn
        if distributed.is_first():
            pair = judge(drawn, settings.evaluation, seed=seed, without=without)
            if without is None:
                without, found["none"] = pair.without, under_protocol(pair, fenced=False)
            found[name] = under_protocol(pair, fenced=True)
    return found if distributed.is_first() else None
