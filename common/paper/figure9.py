"""Figure 9: AUC and accuracy behind every interval of the search, against its Jensen-Shannon divergence."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from common.attacks import suite
from common.attacks.interface import Fitting
from common.diffence import Interval
from common.diffence.intervals import compared
from common.evaluation.answers import RoleCandidates
from common.paper import words
from common.paper.bench import THRESHOLDS, Bench
from common.paper.interface import Item, Made
from common.reports import charts
from common.reports.paper import Paper
from common.runtime.errors import UserError
from common.runtime.subject import Subject
from common.statistics import roc

STEP, CANDIDATES = 40, 50  # the paper's T and N


def measured(bench: Bench) -> tuple[np.ndarray, np.ndarray]:
    """Of each interval the Jensen-Shannon divergence [m], and AUC and accuracy of the best attack [m, 2]."""
    fence = bench.fence(step=STEP, num_candidates=CANDIDATES, scenario=1)
    population = bench.population(Subject(), fence)
    roles = bench.experiment.partition.roles(bench.experiment.evaluation_config.num_sample)
    tuning, fitting, test = (
        population.draw(roles[name], until=None, desc=f"purify undefended, {name}")
        for name in (THRESHOLDS.tuning, THRESHOLDS.fitting, THRESHOLDS.test)
    )
    members = int(tuning.member.sum())
    intervals, distances = compared(tuning.candidates[:members], tuning.candidates[members:])
    finite = np.isfinite(distances)
    found = [_best(bench, interval, fitting, test) for interval, kept in zip(intervals, finite, strict=True) if kept]
    if not found:
        raise UserError(f"figure9 of {bench.name}: no interval of the search holds known members and non-members")
    return distances[finite] ** 2, np.array(found)


def _best(bench: Bench, interval: Interval, fitting: RoleCandidates, test: RoleCandidates) -> tuple[float, float]:
    known, judged = (role.answered(interval).observations for role in (fitting, test))
    config = Fitting(bench.experiment.evaluation_config, bench.experiment.seed)
    scored = suite.run(THRESHOLDS.attacks, known, judged, config).scored
    accuracies = (roc.balanced_accuracy(*each, 0.0) for each in scored.values())
    return max(roc.auc(*each) for each in scored.values()), max(accuracies)


def direction(correlation: float) -> str:
    """In words."""
    weakly = "" if abs(correlation) > words.CLEAR else " weakly"
    return f"{'rises' if correlation >= 0 else 'falls'}{weakly} with the divergence"


def make(benches: Sequence[Bench], paper: Paper) -> Made:
    figures, correlations, least = {}, [], []
    for bench in benches:
        divergences, values = measured(bench)
        figures[bench.name] = charts.scatter(
            divergences,
            {"AUC": values[:, 0], "accuracy": values[:, 1]},
            x="Jensen-Shannon divergence, on the tuning role",
            y="best of four attacks, final test",
        )
        correlations.append(spearmanr(divergences, values[:, 0])[0])
        least.append((values[divergences.argmin(), 0], values[:, 0].max()))
    chosen, most = np.mean(least, axis=0)
    correlation = float(np.mean(correlations))
    return Made(
        paper="AUC and accuracy rise with the divergence",
        ours=f"rank correlation of divergence and AUC {correlation:+.2f}",
        says=f"the interval of least divergence leaves an AUC of {chosen:.3f}, the one that leaves most {most:.3f}; "
        f"the AUC {direction(correlation)} (rank correlation {correlation:+.2f}; in the paper it rises)",
        figures=figures,
        notes=[words.JUDGED[THRESHOLDS], f"N = {CANDIDATES}, T = {STEP}, as in the paper; scenario 1."],
    )


ITEM = Item(
    "Figure 9: intervals against their Jensen-Shannon divergence",
    ("undefended",),
    make,
    of=words.NOT_KNOWN,
    counts=words.scored,
)
