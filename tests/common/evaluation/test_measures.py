from dataclasses import replace

import pytest
import torch

from common.attacks import ATTACKS
from common.evaluation import measures
from common.evaluation.answers import FencedPopulation
from common.evaluation.bank import Bank
from common.evaluation.judge import judge
from common.evaluation.measures import MEASURES
from common.evaluation.protocols import HELD_OUT, STEADY, draw
from common.evaluation.run import Settings, evaluate, under_protocol
from common.experiment.fence import build_fence
from common.reports import measures as measures_report
from common.runtime import distributed
from common.runtime.subject import Subject
from tests.common.diffence.slow import diffence_config
from tests.common.evaluation.population import POPULATION, K, Shifting
from tests.common.evaluation.slow import CONFIG

CHOSEN = ("loss", "entropy", "edges", "near_copies_4", "noisy_copies_5", "work", "label_augmentation")
SETTINGS = Settings(
    Subject(), diffence_config(step=1), CONFIG, [replace(HELD_OUT, chosen=CHOSEN), replace(STEADY, chosen=CHOSEN)]
)


@pytest.fixture
def fenced(tmp_path):
    """The population behind any fence, its banks kept by what candidates depend on."""
    made = {}

    def build(fence):
        def bank(fence, seed):
            name = f"{fence.reconstructs}{seed}"
            model = build_fence(lambda x: 9 * x.flatten(1)[:, :K] - 4, Shifting(), fence, key=seed)
            model.batch_size = 1
            return Bank(model, tmp_path / f"{abs(hash(name))}", 8, 16, K, torch.device("cpu"))

        made[str(fence)] = fence
        return FencedPopulation(POPULATION, bank(fence, 0), bank(fence.with_measures(num_candidates=16), 1))

    return build


def test_every_measure_is_the_held_out_protocol_on_the_fence_with_these_changes(fenced):
    found = measures.measure(fenced, SETTINGS, seed=3)
    assert found is not None and list(found) == ["none", *MEASURES]
    for name in ("the paper's fence", "shared noise, exact answers, constant work"):
        fence = SETTINGS.fence.of("paper").with_measures(**MEASURES[name])
        protocol = replace(HELD_OUT, chosen=CHOSEN, chooses=False)
        drawn = draw(fenced(fence), protocol, CONFIG, fence=fence, desc="")
        again = under_protocol(judge(drawn, CONFIG, seed=3), fenced=True).attacks
        assert {attack: row.auc for attack, row in found[name].attacks.items()} == {
            a: row.auc for a, row in again.items()
        }
    kept = {name: part.label_agreement for name, part in found.items() if not name.startswith("averaged")}
    assert set(kept.values()) == {1.0}


def test_what_a_measure_takes_away_is_gone(fenced):
    found = measures.measure(fenced, SETTINGS, seed=3)
    assert found is not None
    for name, part in found.items():
        if "constant work" in name or name == "the label alone":
            assert part.attacks["work"].auc == 0.5, name
        if not name.startswith("averaged"):
            assert part.attacks["label_augmentation"].auc == found["none"].attacks["label_augmentation"].auc
    alone, exact = found["the label alone"], found["exact answers"]
    assert alone.attacks["entropy"].auc == alone.attacks["edges"].auc == 0.5
    assert alone.accuracy == exact.accuracy == found["none"].accuracy
    assert found["constant work"].reconstructions_per_query == SETTINGS.fence.num_candidates


def test_the_table_has_a_row_for_each_and_spread_over_seeds(fenced):
    found = measures.measure(fenced, SETTINGS, seed=3, cases={"one": {}, "other": {"work": "constant"}})
    shown = measures_report.table([found, found], style="markdown")
    rows = [line.split(" | ") for line in shown.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == ["| none", "| one", "| other"]
    assert f"{found['one'].best.auc:.3f} ± 0.000" in rows[3]
    assert " ± " not in measures_report.table([found])


def test_of_several_processes_the_first_judges(monkeypatch, fenced):
    monkeypatch.setattr(distributed, "is_first", lambda: False)
    assert measures.measure(fenced, SETTINGS, seed=3, cases={"one": {}}) is None


def test_an_evaluation_judges_both_fences_and_looks_at_raw_answers_and_labels_once(fenced, monkeypatch):
    asked = []
    own = FencedPopulation.draw

    def counted(self, role, *, until, desc):
        asked.append(desc)
        return own(self, role, until=until, desc=desc)

    monkeypatch.setattr(FencedPopulation, "draw", counted)
    fences = {name: fenced(SETTINGS.fence.of(name)) for name in ("paper", "steady")}
    found = evaluate(fences, SETTINGS, seed=3)
    assert found is not None and list(found.pairs) == ["held_out", "steady"]
    held_out, steady = found.pairs["held_out"], found.pairs["steady"]
    assert steady.without is held_out.without and steady.protocol.fence == "steady"
    assert list(steady.fenced.attacks) == list(held_out.fenced.attacks)
    for name, attack in ATTACKS.items():
        if attack.sees == "label" and name in steady.fenced.attacks:
            ours, theirs = steady.fenced.attacks[name], held_out.fenced.attacks[name]
            assert ours.measured == theirs.measured
