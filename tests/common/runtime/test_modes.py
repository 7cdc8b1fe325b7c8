import pytest
from pydantic import ValidationError

from common.diffence.measures import DiffenceConfig
from common.runtime import config
from common.runtime.config import Strict
from common.runtime.errors import UserError
from common.runtime.modes import SCENARIOS, ScenarioSetting
from tests.common.diffence.slow import diffence_config


class Setting(Strict):
    scenario: ScenarioSetting


@pytest.mark.parametrize("number", SCENARIOS)
def test_a_scenario_is_read_by_number_or_name_held_by_name_and_written_as_the_number(number):
    for given in (number, SCENARIOS[number]):
        setting = Setting.model_validate({"scenario": given})
        assert setting.scenario == SCENARIOS[number]
        assert setting.model_dump() == {"scenario": number}


def test_the_numbers_are_the_papers():
    assert SCENARIOS == {1: "members_and_non_members", 2: "members_only", 3: "neither"}


@pytest.mark.parametrize("given", [0, 4, True, "1", 1.0, None, "members", [1]])
def test_anything_else_is_refused(given):
    with pytest.raises(ValidationError, match="members_and_non_members"):
        Setting.model_validate({"scenario": given})


@pytest.mark.parametrize("scenario", [True, 1.0, "1", 4])
def test_a_scenario_is_a_whole_number(scenario):
    content = {**diffence_config().model_dump(), "scenario": scenario}
    with pytest.raises(UserError, match="scenario"):
        config.parse(content, DiffenceConfig, source="a.yaml")


@pytest.mark.parametrize(("noising", "there"), [("ddpm", True), ("published", True), ("DDPM", False), (None, False)])
def test_the_noisings_are_two(noising, there):
    content = {**diffence_config().model_dump(), "noising": noising}
    if there:
        assert config.parse(content, DiffenceConfig, source="a.yaml").noising == noising
    else:
        with pytest.raises(UserError, match="noising"):
            config.parse(content, DiffenceConfig, source="a.yaml")
