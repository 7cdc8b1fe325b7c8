"""Which Python the shell drivers start, and from where."""

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
        ({"CDPATH": "."}, ".venv/bin/python"),
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


@pytest.mark.parametrize("script", sorted(REPOSITORY.glob("*.sh")) + sorted(REPOSITORY.glob("*/evaluate_MIAs/*.sh")))
def test_a_driver_finds_its_own_folder_where_cd_looks_elsewhere_first(tmp_path: Path, script: Path) -> None:
    """CDPATH lets `cd` print where it goes, and go elsewhere: here a folder of the same name is in its way."""
    (tmp_path / script.parent.relative_to(REPOSITORY.parent)).mkdir(parents=True)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PYTHONPATH" "$@"\n')
    python.chmod(0o755)
    shown = str(script.relative_to(REPOSITORY.parent))

    def started(**given: str) -> str:
        environment = os.environ | {"PYTHON": str(python), "PYTHONPATH": ""} | given
        return subprocess.run(
            ["bash", shown, "--help"],
            cwd=REPOSITORY.parent, env=environment, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    said = started()
    assert str(REPOSITORY) in said and said.endswith("--help\n")
    assert started(CDPATH=".") == started(CDPATH=f"{tmp_path}:.") == said
