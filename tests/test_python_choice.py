"""Which Python the shell drivers start."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from common.runtime.paths import REPOSITORY

CHOICES = ("PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV")


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, ".venv/bin/python"),
        ({"PYTHON": "/mine"}, "/mine"),
        ({"VIRTUAL_ENV": "/mine"}, "python"),
        ({"CONDA_PREFIX": "/conda/envs/diffence", "CONDA_DEFAULT_ENV": "diffence"}, "python"),
        ({"CONDA_PREFIX": "/conda", "CONDA_DEFAULT_ENV": "base"}, ".venv/bin/python"),
    ],
)
def test_an_environment_that_was_chosen_comes_first(tmp_path: Path, given: dict[str, str], chosen: str) -> None:
    (tmp_path / "common").mkdir()
    shutil.copy(REPOSITORY / "common" / "python.sh", tmp_path / "common")
    own = tmp_path / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch(mode=0o755)
    environment = {name: value for name, value in os.environ.items() if name not in CHOICES} | given
    said = subprocess.run(
        ["bash", "-c", "source common/python.sh; echo $PYTHON"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert said == (str(tmp_path / chosen) if chosen.startswith(".") else chosen)
