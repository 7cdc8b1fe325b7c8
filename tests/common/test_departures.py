from dataclasses import fields, replace

import pytest

from common import departures, protocols
from common.config import DiffenceConfig
from common.departures import DEPARTURES, START, Departures
from common.evaluation import Settings
from common.protocols import HELD_OUT, PUBLISHED
from tests.common.test_protocols import CONFIG, run

FENCE = DiffenceConfig(num_candidates=4, step=160, scenario=1, noising="ddpm", group_size=5)
SETTINGS = Settings(model="resnet", defense="undefended", fence=FENCE, evaluation=CONFIG)


def test_each_departure_but_the_last_switches_one_thing():
    assert replace(START, attacks=HELD_OUT.attacks) == HELD_OUT and START.attacks == PUBLISHED.attacks
    switched = []
    for protocol, noising in list(DEPARTURES.values())[:-1]:
        changed = [field.name for field in fields(START) if getattr(protocol, field.name) != getattr(START, field.name)]
        switched.append([*changed, *(["noising"] if noising == "published" else [])])
    assert switched == [["noising"], ["tuning"], ["hindsight_threshold"], ["epoch_by_test_auc"], ["merged_sets"]]
    assert list(DEPARTURES.values())[-1] == (PUBLISHED, "published")


@pytest.fixture(scope="module")
def measured():
    pairs = {name: run(protocol)[1] for name, (protocol, _) in DEPARTURES.items()}
    return Departures("digits", SETTINGS, run(START)[1], pairs)


def rows(measured):
    lines = departures.table(measured, style="markdown").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[4:]]
    return {name: values for name, *values in cells}


def test_the_table_has_the_starts_values_and_what_each_departure_adds(measured):
    table = rows(measured)
    start = measured.start
    expected = [v.best[key] for v in (start.without, start.fenced) for key in ("auc", "balanced_accuracy")]
    assert table["none: held out, ddpm"] == [f"{value:.3f}" for value in expected]
    for name, pair in measured.departed.items():
        for verdict, before, (auc, accuracy) in (
            (pair.without, start.without, table[name][:2]),
            (pair.fenced, start.fenced, table[name][2:]),
        ):
            assert auc.startswith(f"{verdict.best['auc'] - before.best['auc']:+.3f} [")
            assert accuracy.startswith(f"{verdict.best['balanced_accuracy'] - before.best['balanced_accuracy']:+.3f} [")


def test_what_a_departure_cannot_change_is_exactly_unchanged(measured):
    """The fence's interval says nothing about raw answers; a threshold nothing about an AUC."""
    table, nothing = rows(measured), "+0.000 [+0.000, +0.000]"
    assert table["interval tuned on the scored samples"][:2] == [nothing, nothing]
    assert table["threshold in hindsight"][0] == table["threshold in hindsight"][2] == nothing
    assert float(table["threshold in hindsight"][1].split()[0]) >= 0  # the best in hindsight is never worse


def test_the_nn_attacks_epoch_is_shown_for_that_attack_too(measured):
    pair = measured.departed[departures.NN_EPOCH]
    change = pair.without.attacks["nn"].measured["auc"] - measured.start.without.attacks["nn"].measured["auc"]
    assert rows(measured)["… in the NN attack itself"][0].startswith(f"{change:+.3f} [")


def test_intervals_are_those_of_the_shared_resamples(measured):
    pair = measured.departed["fitting and test sets merged"]
    shared = pair.fenced.greatest_aucs - measured.start.fenced.greatest_aucs
    lo, hi = protocols.metrics.interval95(shared)
    assert rows(measured)["fitting and test sets merged"][2].endswith(f"[{lo:+.3f}, {hi:+.3f}]")
