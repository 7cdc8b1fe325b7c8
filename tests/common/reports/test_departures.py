import pytest

from common.evaluation.departures import DEPARTURES, EPOCH, START, Departures
from common.reports import departures
from common.statistics.bootstrap import interval95
from tests.common.evaluation.slow import run
from tests.common.evaluation.test_departures import SETTINGS


@pytest.fixture(scope="module")
def measured():
    pairs = {name: run(protocol)[1] for name, (protocol, _) in DEPARTURES.items()}
    return Departures("digits", SETTINGS, {}, run(START)[1], pairs)


def rows(measured):
    lines = departures.table(measured, style="markdown").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[4:]]
    return {name: values for name, *values in cells}


def test_the_table_has_the_starts_values_and_what_each_departure_adds(measured):
    table = rows(measured)
    start = measured.start
    expected = [getattr(v.best, name) for v in (start.without, start.fenced) for name in ("auc", "balanced_accuracy")]
    assert table["none: held out, ddpm"] == [f"{value:.3f}" for value in expected]
    for name, pair in measured.departed.items():
        for verdict, before, (auc, accuracy) in (
            (pair.without, start.without, table[name][:2]),
            (pair.fenced, start.fenced, table[name][2:]),
        ):
            assert auc.startswith(f"{verdict.best.auc - before.best.auc:+.3f} [")
            assert accuracy.startswith(f"{verdict.best.balanced_accuracy - before.best.balanced_accuracy:+.3f} [")


def test_what_a_departure_cannot_change_is_exactly_unchanged(measured):
    """The fence's interval says nothing about raw answers; a threshold nothing about an AUC."""
    table, nothing = rows(measured), "+0.000 [+0.000, +0.000]"
    assert table["interval tuned on the scored samples"][:2] == [nothing, nothing]
    assert table["threshold in hindsight"][0] == table["threshold in hindsight"][2] == nothing
    assert float(table["threshold in hindsight"][1].split()[0]) >= 0  # the best in hindsight is never worse


def test_the_epoch_of_an_attack_that_is_trained_is_shown_for_that_attack_too(measured):
    pair = measured.departed[EPOCH]
    change = pair.without.attacks["nn"].measured.auc - measured.start.without.attacks["nn"].measured.auc
    assert rows(measured)["… in nn itself"][0].startswith(f"{change:+.3f} [")


def test_intervals_are_those_of_the_shared_resamples(measured):
    pair = measured.departed["fitting and test sets merged"]
    shared = pair.fenced.greatest_aucs - measured.start.fenced.greatest_aucs
    lo, hi = interval95(shared)
    assert rows(measured)["fitting and test sets merged"][2].endswith(f"[{lo:+.3f}, {hi:+.3f}]")


def test_the_title_says_whose_numbers_these_are_and_of_how_many_attacks(measured):
    for style in ("text", "markdown"):
        title = departures.table(measured, style=style).splitlines()[0]
        assert title.startswith("digits, undefended (resnet): ") and title.endswith("best of 6 attacks")
