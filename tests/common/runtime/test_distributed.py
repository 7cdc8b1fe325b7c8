import pytest

from common.runtime import distributed
from common.runtime.errors import UserError

WHOLE = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.fixture
def environment(monkeypatch):
    for name in WHOLE:
        monkeypatch.delenv(name, raising=False)

    def put(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    "variables",
    [
        {},
        WHOLE,
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"},  # what a step of all-train-all.sh gets
    ],
)
def test_a_launch_or_none_is_accepted(environment, variables):
    environment(variables)
    distributed.require_whole_launch()


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"RANK": "1"}, "RANK=1 in the environment, which is no launch"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 in the environment, which is no launch"),
        ({**WHOLE, "RANK": "2"}, "RANK=2, WORLD_SIZE=2 in the environment"),
        ({**WHOLE, "RANK": "-1"}, "RANK=-1 in the environment: expected a whole number"),
        ({**WHOLE, "WORLD_SIZE": "two"}, "WORLD_SIZE=two in the environment: expected a whole number"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "but not LOCAL_RANK, MASTER_ADDR, MASTER_PORT"),
    ],
)
def test_half_a_launch_is_refused_with_what_is_there(environment, variables, complaint):
    environment(variables)
    with pytest.raises(UserError, match=complaint):
        distributed.require_whole_launch()
