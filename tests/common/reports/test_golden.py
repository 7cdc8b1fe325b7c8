"""A report from fixed answers is pinned: every key, every number to nine digits, every character of the table."""

import json

import pytest

from common.evaluation.record import Report
from common.reports import text
from common.runtime import config, storage
from tests.common.reports.golden import FILES, TEXT, made


@pytest.fixture(scope="module")
def reports():
    return made()


def flat(content, name=""):
    """Every value by the path to it."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else None
    if not pairs:
        return {name: content}
    return {path: value for key, part in pairs for path, value in flat(part, f"{name}.{key}").items()}


def written(report):
    return json.loads(json.dumps(report.model_dump(mode="json", by_alias=True), allow_nan=False))


def read(content):
    return config.parse(content, Report, source="report.json")


@pytest.mark.parametrize("fenced", FILES)
def test_the_report_of_fixed_answers_stays_as_it_is(reports, fenced):
    found, expected = flat(written(reports[fenced])), flat(storage.read_json(FILES[fenced]))
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert found[path] == (pytest.approx(value, abs=1e-9) if isinstance(value, float) else value), path


def test_the_table_stays_as_it_is_and_is_rendered_from_what_was_read_back_too(reports):
    expected = TEXT.read_text()
    assert text.table(reports[False], reports[True]) == expected
    assert text.table(*(read(written(report)) for report in reports.values())) == expected


def test_an_attack_that_could_not_run_stands_in_report_and_table(reports):
    told = reports[True].protocols["held_out"].not_run
    assert told.keys() == {"boundary", "lira"} and told["lira"] == "needs shadow models, and there are none"
    assert "\nlira                        not run: needs shadow models, and there are none\n" in TEXT.read_text()


def test_a_report_of_before_is_read_and_rendered(reports):
    """Without the keys that have been added since: cells are empty, and all else stays."""
    older = []
    for report in reports.values():
        content = written(report)
        for key in ("notes", "versions"):
            del content[key]
        for part in content["protocols"].values():
            del part["not_run"], part["best"]["difference"], part["chosen"], part["utility"]
            for row in part["attacks"].values():
                for key in ("difference", "queries", "ppv", "tpr_points", "tnr_points", "balanced_accuracy_ci"):
                    del row[key]
        older.append(read(content))
    shown = text.table(*older)
    assert older[1].protocols["held_out"].attacks["loss"].difference is None and older[1].notes == []
    for line in TEXT.read_text().splitlines():
        if line.startswith(("best ", "accuracy, ", "Best attack: ")):
            assert line[:100].rstrip() in shown
