"""Figure 10: how many reconstructions it takes until one falls inside an interval, as a distribution function."""

from collections.abc import Sequence

import numpy as np

from common.diffence import EVERYWHERE, Interval
from common.diffence.rule import accepted
from common.paper import words
from common.paper.bench import HELD, Bench
from common.paper.interface import Item, Made
from common.reports import charts
from common.reports.paper import Paper
from common.runtime.subject import Subject

STEP, CANDIDATES = 100, 50  # the paper's T, and enough draws to see the tail
SHARES = ((0.25, 0.75), (0.4, 0.6), (0.0, 0.5))  # of all known phi, that intervals beside the tuned one hold


def _distribution(first: np.ndarray) -> np.ndarray:
    """Share of samples that have an accepted one among the first 1 … N, from the place of the first: [N]."""
    return np.array([(first < count).mean() for count in range(1, CANDIDATES + 1)])


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    figures, one, five = {}, [], []
    for bench in benches:
        fence = bench.fence(step=STEP, num_candidates=CANDIDATES, scenario=1)
        drawn = bench.drawn(Subject(), HELD, fence)
        roles = bench.experiment.partition.roles(bench.experiment.evaluation_config.num_sample)
        population = bench.population(Subject(), fence)
        test = population.draw(roles[HELD.test], until=None, desc="purify undefended, all").candidates
        known = drawn.roles[HELD.tuning].candidates
        phi = known.phi[known.keeps].numpy()
        assert isinstance(drawn.rule, Interval)
        intervals = {"tuned": drawn.rule, "any (scenario 3)": EVERYWHERE}
        for low, high in SHARES:
            ends = np.quantile(phi, [low, high])
            intervals[f"{100 * low:.0f} to {100 * high:.0f} % of known phi"] = Interval(*map(float, ends))
        lines = {}
        for name, interval in intervals.items():
            inside = accepted(test, interval)[:, :CANDIDATES].numpy()
            first = np.where(inside.any(axis=1), inside.argmax(axis=1), CANDIDATES)
            lines[name] = _distribution(first)
        figures[bench.name] = charts.lines(
            np.arange(1, CANDIDATES + 1), lines, x="reconstructions drawn", y="share of samples with one inside"
        )
        one.append(lines["tuned"][0])
        five.append(lines["tuned"][4])
    return Made(
        paper="distribution functions, no number",
        ours=f"{100 * np.mean(one):.0f} % need one, {100 * np.mean(five):.0f} % at most five",
        says=f"inside the tuned interval {100 * np.mean(one):.0f} % of the samples have their first reconstruction and "
        f"{100 * np.mean(five):.0f} % one of the first five",
        figures=figures,
        notes=[
            "T = 100, as in the paper. N = 50, and the intervals beside the tuned one, are of our choice. None is "
            "tuned on these samples."
        ],
    )


ITEM = Item(
    "Figure 10: reconstructions until one is accepted", ("undefended",), make, of="CIFAR-100", counts=words.shown
)
