"""How commands start several processes."""

import sys

import pytest

from common.cli import main as diffence
from common.cli import reproduce, train_all
from common.runtime import children
from tests.miniature import REPOSITORY

OPTIONS = {"train-all": ["--dataset", "digits", "--nproc", "2"], "reproduce": ["table3", "--nproc", "2"]}


@pytest.fixture
def started(monkeypatch):
    """What would be started in several processes: the words, and whether the first one is a module."""
    found = []
    monkeypatch.setattr(children, "launch", lambda _, program, **how: found.append((program, how["module"])) or 0)
    return found


@pytest.mark.parametrize(("command", "main"), [("train-all", train_all.main), ("reproduce", reproduce.main)])
def test_a_module_is_started_with_its_own_options_by_whatever_name_it_was_called(monkeypatch, started, command, main):
    monkeypatch.setattr(sys, "argv", ["diffence", command, *OPTIONS[command]])  # the command is no option of the module
    assert diffence.main() == 0
    monkeypatch.setattr(sys, "argv", [f"{command}.py", *OPTIONS[command]])
    assert main() == 0
    assert started == [([f"common.cli.{command.replace('-', '_')}", *OPTIONS[command]], True)] * 2


def test_a_script_is_started_again_as_it_was(monkeypatch, started):
    words = ["/bin/diffence", "train-ddpm", "--nproc", "2"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(REPOSITORY / "digits")
    assert diffence.main() == 0
    assert started == [(words, False)]
