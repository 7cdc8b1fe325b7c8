"""The README's code runs as it stands, and its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

from tests.miniature import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


def test_the_python_example_runs(trained: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code) == 1 and len(code[0].strip().splitlines()) <= 10
    done = subprocess.run([sys.executable, "-c", code[0]], cwd=trained, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Interval(lo=")


def test_nothing_is_left_to_fill_in() -> None:
    assert "@@" not in README


def test_make_targets_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make (\w+)`", README)) <= targets


def test_scripts_in_the_readme_exist() -> None:
    for script in set(re.findall(r"`python (\w+\.py)", README)):
        assert (REPOSITORY / "cifar10" / script).is_file(), script


def test_files_in_the_readme_exist() -> None:
    for name in re.findall(r"`(\w+\.py|\w+/)`", README):
        assert any(
            (REPOSITORY / folder / name).exists() for folder in (".", "common", "digits", "digits/evaluate_MIAs")
        ), name
