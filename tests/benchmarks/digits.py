"""On digits, after `make demo`: passes per query, and what bf16 does to the best AUC: python -m tests.benchmarks.digits

The AUCs are given under the interval that each precision tunes, and under the other's: rounding and tuning told apart.
"""

import torch

from common import config, diffence, evaluation, protocols, tables
from common.bank import BankStore
from common.datasets import to_float
from common.device import PRECISIONS
from common.diffence import Interval
from common.experiment import Experiment
from common.paths import DatasetFolder
from common.protocols import HELD_OUT, PROTOCOLS, Drawn, Protocol
from tests.benchmarks.inference import rows_asked
from tests.miniature import REPOSITORY


def main() -> None:
    folder = DatasetFolder(REPOSITORY / "digits")
    settings = evaluation.Settings(
        model="resnet",
        defense="undefended",
        fence=config.load(folder.config("diffence"), config.DiffenceConfig),
        evaluation=config.load(folder.config("evaluation"), config.EvaluationConfig),
    )
    stores = {precision: _store(folder, settings, precision) for precision in PRECISIONS}
    header = ["protocol", "computed in", "interval tuned in", "interval", "best AUC with Diffence"]
    rows = [row for protocol in PROTOCOLS.values() for row in _best_aucs(protocol, stores, settings)]
    print(tables.STYLES["markdown"](header, rows))
    print(tables.STYLES["markdown"](["queries", "passes needed for each", "made"], [_passes(stores["fp32"], settings)]))


def _store(folder: DatasetFolder, settings: evaluation.Settings, precision: str) -> BankStore:
    experiment = Experiment.at(folder, seed=0, device="cpu", precision=precision)
    evaluation.require_inputs(experiment, model=settings.model, defense=settings.defense)
    defended = evaluation.load_classifier(experiment, model=settings.model, defense=settings.defense)
    return evaluation.bank_store(experiment, settings, defended)


def _drawn(protocol: Protocol, store: BankStore, settings: evaluation.Settings) -> Drawn:
    """All candidates of all roles, and the interval tuned on one of them."""
    part, count = store.experiment.partition, settings.evaluation.num_sample
    roles = part.roles(count) | part.published_roles(count)
    banks = {role: store.bank(roles[role], until=None, desc=role) for role in protocol.roles}
    tuning, scenario = banks[protocol.tuning], settings.fence.scenario
    return Drawn(protocol, banks, diffence.tune_interval(tuning.members, tuning.non_members, scenario=scenario))


def _best_aucs(protocol: Protocol, stores: dict[str, BankStore], settings: evaluation.Settings) -> list[list[str]]:
    drawn = {precision: _drawn(protocol, store, settings) for precision, store in stores.items()}
    rows = []
    for tuned, theirs in drawn.items():
        for computed, own in drawn.items():
            judged = protocols.judge(Drawn(protocol, own.banks, theirs.interval), settings.evaluation, seed=0)
            auc = judged.fenced.best["auc"]
            rows.append([protocol.name, computed, tuned, _shown(theirs.interval), f"{auc:.4f}"])
    return rows


def _shown(interval: Interval) -> str:
    return f"[{interval.lo:.3f}, {interval.hi:.3f}]"


def _passes(store: BankStore, settings: evaluation.Settings) -> list[str]:
    """Of all queries of the final test at once."""
    drawn, experiment, fenced = _drawn(HELD_OUT, store, settings), store.experiment, store.fenced
    role = experiment.partition.roles(settings.evaluation.num_sample)[HELD_OUT.test]
    parts = experiment.training_part(role.members), experiment.test_part(role.non_members)
    x = to_float(torch.cat([part.images for part in parts]))
    fenced.interval = drawn.interval
    needed = drawn.banks[HELD_OUT.test].reconstructions_per_query(drawn.interval)
    return [str(len(x)), f"{needed:.2f}", f"{rows_asked(fenced, x) / len(x):.2f}"]


if __name__ == "__main__":
    main()
