"""On digits, after `make demo`: passes per query, and what bf16 does to the best AUC: python -m tests.benchmarks.digits

The AUCs are given under the interval that each precision tunes, and under the other's: rounding and tuning told apart.
"""

from typing import get_args

import torch

from common.evaluation.answers import FencedPopulation
from common.evaluation.judge import judge
from common.evaluation.protocols import HELD_OUT, PUBLISHED, Drawn, Protocol, tuned
from common.evaluation.run import Settings
from common.experiment import evaluate
from common.experiment.experiment import Experiment
from common.reports import tables
from common.runtime.images import to_float
from common.runtime.modes import Precision
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject
from tests.benchmarks.inference import rows_asked
from tests.miniature import REPOSITORY

JUDGED = [HELD_OUT, PUBLISHED]  # by the paper's fence, which has an interval


def main() -> None:
    experiments = {
        precision: Experiment.at(DatasetFolder(REPOSITORY / "digits"), device="cpu", precision=precision)
        for precision in get_args(Precision)
    }
    settings = evaluate.settings_for(experiments["fp32"], Subject(), JUDGED)
    fenced = {precision: _fenced(experiment, settings) for precision, experiment in experiments.items()}
    header = ["protocol", "computed in", "interval tuned in", "interval", "best AUC with Diffence"]
    rows = [row for protocol in JUDGED for row in _best_aucs(protocol, fenced, settings)]
    print(tables.STYLES["markdown"](header, rows))
    print(tables.STYLES["markdown"](["queries", "passes needed for each", "made"], [_passes(fenced["fp32"], settings)]))


def _fenced(experiment: Experiment, settings: Settings) -> FencedPopulation:
    evaluate.require_inputs(experiment, settings.subject)
    models = evaluate.load_models(experiment, settings)
    return evaluate.fenced_population(experiment, settings, models, fence=settings.fence.of("paper"))


def _drawn(protocol: Protocol, fenced: FencedPopulation, settings: Settings) -> Drawn:
    """All candidates of all roles, and the interval tuned on one of them."""
    part, count = fenced.population.partition, settings.evaluation.num_sample
    roles = part.roles(count) | part.published_roles(count)
    drawn = {role: fenced.draw(roles[role], until=None, desc=role) for role in protocol.roles}
    return Drawn(protocol, drawn, tuned(drawn[protocol.tuning], settings.fence.of(protocol.fence)))


def _best_aucs(protocol: Protocol, fenced: dict[Precision, FencedPopulation], settings: Settings) -> list[list[str]]:
    drawn = {precision: _drawn(protocol, population, settings) for precision, population in fenced.items()}
    rows = []
    for tuned_in, theirs in drawn.items():
        for computed, own in drawn.items():
            judged = judge(Drawn(protocol, own.roles, theirs.rule), settings.evaluation, seed=0)
            shown = f"[{theirs.rule.lo:.3f}, {theirs.rule.hi:.3f}]"
            rows.append([protocol.name, computed, tuned_in, shown, f"{judged.fenced.best.auc:.4f}"])
    return rows


def _passes(fenced: FencedPopulation, settings: Settings) -> list[str]:
    """Of all queries of the final test at once."""
    drawn, fence = _drawn(HELD_OUT, fenced, settings), fenced.bank.fence
    role = fenced.population.partition.roles(settings.evaluation.num_sample)[HELD_OUT.test]
    x = to_float(torch.cat([part.images for part in fenced.population.parts(role)]))
    fence.rule = drawn.rule
    needed = drawn.roles[HELD_OUT.test].reconstructions_per_query(drawn.rule)
    return [str(len(x)), f"{needed:.2f}", f"{rows_asked(fence, x) / len(x):.2f}"]


if __name__ == "__main__":
    main()
