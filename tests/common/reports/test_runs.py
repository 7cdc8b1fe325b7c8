"""Evaluations of before are kept when another one takes their place."""

import json
import re

import pytest

from common.reports import runs
from common.runtime import storage
from common.runtime.errors import UserError
from common.runtime.paths import PAGE
from tests.common.reports.golden import made


@pytest.fixture(scope="module")
def report():
    return made()[False].model_copy(update={"evaluation": "first", "run": "scenario-2"})


def write(target, report):
    target.mkdir(exist_ok=True)
    storage.write_json(target / "report.json", report.model_dump(mode="json", by_alias=True))
    (target / "roc.png").write_bytes(report.evaluation.encode())


def kept(target):
    found = (target / "runs").glob("*/report.json")
    return {path.parent.name: json.loads(path.read_text())["evaluation"] for path in found}


def test_the_same_evaluation_is_written_over_and_another_one_is_kept(report, tmp_path):
    target = tmp_path / "undefended"
    runs.keep(target, report)  # nothing is there
    write(target, report)
    runs.keep(target, report)
    assert kept(target) == {}
    other = report.model_copy(update={"evaluation": "other"})
    runs.keep(target, other)
    assert (
        kept(target) == {"scenario-2": "first"}
        and (target / "runs" / "scenario-2" / "roc.png").read_bytes() == b"first"
    )
    write(target, other)
    for _ in range(2):  # as when a run is killed between keeping and writing
        runs.keep(target, report)
    assert kept(target) == {"scenario-2": "first", "scenario-2-2": "other"}


@pytest.mark.parametrize("damaged", [b"", b"[]", b'{"evaluation": "fi', b"\xff"])
def test_a_kept_evaluation_that_is_damaged_is_left_alone(report, tmp_path, damaged):
    write(tmp_path, report)
    there = tmp_path / "runs" / "scenario-2" / "report.json"
    there.parent.mkdir(parents=True)
    there.write_bytes(damaged)
    runs.keep(tmp_path, report.model_copy(update={"evaluation": "other"}))
    assert there.read_bytes() == damaged
    assert json.loads((tmp_path / "runs" / "scenario-2-2" / "report.json").read_text())["evaluation"] == "first"


def test_the_links_of_a_page_that_is_kept_lead_where_they_led(report, tmp_path):
    """They are relative, and what is kept lies two folders deeper."""
    target, other = tmp_path / "undefended", tmp_path / "undefended_shadows" / PAGE
    write(target, report)
    (target / PAGE).write_text('<a href="../undefended_shadows/report.html">by shadow models</a>')
    runs.keep(target, report.model_copy(update={"evaluation": "other"}))
    page = target / "runs" / "scenario-2" / PAGE
    (link,) = re.findall(r'href="(.*?)"', page.read_text())
    assert (page.parent / link).resolve() == other.resolve()


def test_a_report_without_a_name_is_kept_under_that_of_its_evaluation(report, tmp_path):
    write(tmp_path, report.model_copy(update={"run": None}))
    runs.keep(tmp_path, report.model_copy(update={"evaluation": "other"}))
    assert kept(tmp_path) == {"first": "first"}


def test_names_are_names_of_folders():
    changes = ["diffence.steady.noise: per_image -> shared", "ddpm.unet.ch_mult: [1, 2] -> [1, 2, 2]"]
    assert runs.name_of(changes, seed=0) == "noise-shared_ch_mult--1-2-2-"
    assert runs.name_of([], seed=0) == "as-configured"
    long = [f"diffence.key{number}: 1 -> 2" for number in range(30)]
    assert len(runs.name_of(long, seed=0)) <= 80 and runs.name_of(long, seed=0) != runs.name_of(long[:-1], seed=0)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 101])
def test_what_is_no_name_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="expected a name"):
        runs.named(tmp_path, name)


def test_a_name_that_is_taken_is_refused(tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match="is there already"):
        runs.named(tmp_path, "mine")
