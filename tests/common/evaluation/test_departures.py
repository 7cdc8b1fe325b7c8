from dataclasses import fields, replace

import numpy as np
import pytest

from common.evaluation import departures
from common.evaluation.departures import DEPARTURES, EPOCH, START
from common.evaluation.protocols import HELD_OUT, PUBLISHED
from common.evaluation.run import Settings
from common.runtime import distributed
from common.runtime.subject import Subject
from common.statistics.bootstrap import interval95
from tests.common.diffence.slow import diffence_config
from tests.common.evaluation.slow import CONFIG, Formula, run

FENCE = diffence_config()
SETTINGS = Settings(Subject(), FENCE, CONFIG)


def test_each_departure_but_the_last_switches_one_thing():
    assert replace(START, published_attacks=False, with_correctness=False, chooses=True) == HELD_OUT
    assert [attack for attack in START.attacks if attack.name != "correctness"] == PUBLISHED.attacks != START.attacks
    switched = []
    for protocol, noising in list(DEPARTURES.values())[:-1]:
        changed = [field.name for field in fields(START) if getattr(protocol, field.name) != getattr(START, field.name)]
        switched.append([*changed, *(["noising"] if noising == "published" else [])])
    assert switched == [
        ["noising"],
        ["tuning"],
        ["published_search"],
        ["hindsight_threshold"],
        ["epoch_by_test_auc"],
        ["with_correctness"],
        ["merged_sets"],
    ]
    assert list(DEPARTURES.values())[-1] == (PUBLISHED, "published")


def test_start_and_departures_are_each_judged_on_the_candidates_of_their_noising():
    ddpm, published = Formula(), Formula()
    fenced = {"ddpm": ddpm, "published": published}
    measured = departures.measure(fenced, SETTINGS, model={}, dataset="digits", seed=3)
    assert measured.dataset == "digits" and measured.start.protocol == START
    assert list(measured.departed) == list(DEPARTURES)
    for name, (protocol, _) in DEPARTURES.items():
        assert measured.departed[name].protocol == protocol
    roles = [role for _, (protocol, noising) in DEPARTURES.items() if noising == "ddpm" for role in protocol.roles]
    assert [desc for desc, _ in ddpm.asked] == [f"purify undefended, {role}" for role in (*START.roles, *roles)]
    roles = [*START.roles, *PUBLISHED.roles]
    assert [desc for desc, _ in published.asked] == [f"purify undefended, {role}" for role in roles]
    start, pair = run(START)[1], measured.start
    assert pair.without.best == start.without.best and pair.fenced.best == start.fenced.best


def test_of_several_processes_the_first_judges(monkeypatch):
    monkeypatch.setattr(distributed, "is_first", lambda: False)
    population = Formula()
    assert (
        departures.measure({"ddpm": population, "published": population}, SETTINGS, model={}, dataset="x", seed=3)
        is None
    )
    assert len(population.asked) >= len(DEPARTURES)  # but it draws like the others


@pytest.mark.parametrize("kind", ["without", "fenced"])
def test_changes_are_those_of_the_best_in_resamples_that_both_share(kind):
    start, departed = (getattr(run(protocol)[1], kind) for protocol in (START, DEPARTURES[EPOCH][0]))
    auc, accuracy = departures.changes(start, departed)
    assert auc.value == departed.best.auc - start.best.auc
    assert accuracy.value == departed.best.balanced_accuracy - start.best.balanced_accuracy
    assert tuple(auc.interval) == interval95(departed.greatest_aucs - start.greatest_aucs)
    assert tuple(accuracy.interval) == interval95(departed.greatest_accuracies - start.greatest_accuracies)


def test_an_attack_can_be_looked_at_alone():
    pair = run(START)[1]
    assert departures.learning_attacks(pair) == ["nn"]
    alone = departures.of_attack(pair.without, "nn")
    assert list(alone.attacks) == ["nn"] and alone.best.auc == pair.without.attacks["nn"].measured.auc
    assert np.array_equal(alone.greatest_aucs, pair.without.attacks["nn"].aucs)
