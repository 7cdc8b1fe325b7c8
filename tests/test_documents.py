"""What the documents show runs as it stands: every command, the example, and the worked extensions."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import miniature, served
from tests.miniature import REPOSITORY

README = REPOSITORY / "README.md"
DOCUMENTS = {path.name: path for path in (README, REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").glob("*.md"))}
FILES = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", flags=re.DOTALL)
EXTENDING = DOCUMENTS["extending.md"].read_text()


class Shown(NamedTuple):
    """A command of a console block, and the folder it is for."""

    folder: str
    command: str


def commands(text: str) -> list[Shown]:
    lines = [
        line for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines()
    ]
    parted = [line.partition("$ ") for line in lines]
    assert all(dollar for _, dollar, _ in parted), "a command has its folder before it: `digits$ python …`"
    return [Shown(folder or ".", command) for folder, _, command in parted]


ELSEWHERE = {  # in test_scale.py, which runs these very commands
    Shown("digits/evaluate_MIAs", "bash evaluate_mia.sh --defense undefended --nproc 2"),
    Shown("digits", "python train_ddpm.py --nproc 2"),
    Shown("digits", "python train_defense.py --defense selena --nproc 2"),
    Shown("digits", "python train_shadows.py --defense selena --count 2 --nproc 2"),
}


def sections() -> dict[str, list[Shown]]:
    """The commands of each section, which build on one another; what was shown before is not shown again."""
    found, seen = {}, set(ELSEWHERE)
    for name, path in sorted(DOCUMENTS.items()):
        for text in re.split(r"^#+ ", path.read_text(), flags=re.MULTILINE) if name != "extending.md" else ():
            new = [shown for shown in dict.fromkeys(commands(text)) if shown not in seen]
            seen.update(new)
            if new:
                found[f"{name}: {text.partition(chr(10))[0]}"] = new
    return found


SECTIONS = sections()


@pytest.fixture(scope="module")
def root(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature in which digits has partition, diffusion model and the classifiers that documents evaluate."""
    copy = Path(shutil.copytree(trained, tmp_path_factory.mktemp("documents") / "copy"))
    for text in (path.read_text() for name, path in DOCUMENTS.items() if name != "extending.md"):
        for name, code in FILES.findall(text):
            (copy / name).write_text(code)
    for options in (("selena",), ("undefended", "--model", "my_models:build")):
        assert served.run(copy, "digits", "train_defense.py", "--defense", *options).returncode == 0
    evaluate = ("evaluate.py", "--defense", "undefended", *miniature.FEW)
    assert served.run(copy, "digits/evaluate_MIAs", *evaluate).returncode == 0
    return copy


@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_section_run(root: Path, section: str) -> None:
    for shown in SECTIONS[section]:
        words = shown.command.split()
        if words[1] == "evaluate_mia.sh":  # which does nothing but start this script
            done = served.run(root, shown.folder, "evaluate.py", *words[2:])
        elif words[0] == "python" and words[1].endswith(".py"):
            done = served.run(root, shown.folder, *words[1:])
        else:
            done = miniature.run(root, shown.folder, *words)
        assert done.returncode == 0, f"{shown.command}: {done.stderr}"


def test_the_python_example_is_short() -> None:
    """It runs in test_packaging.py, in a folder that is not the repository's."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 10


def test_a_fence_is_saved_and_served_as_shown(root: Path) -> None:
    section = DOCUMENTS["evaluation.md"].read_text().partition("## Save a fence")[2]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_worked_extensions_run(trained: Path, tmp_path: Path) -> None:
    """The files are written, the lines put in their places, and the commands run, one section after the other."""
    root = Path(shutil.copytree(trained, tmp_path / "copy"))
    for section in re.split(r"\n## ", EXTENDING)[1:]:
        for name, code in FILES.findall(section):
            (root / name).write_text(code)
            if name.endswith(".yaml"):
                miniature.shrink(root / name, miniature.TINY_DEFENSE)
        for name, after, code in re.findall(
            r"<!-- line: (\S+) after: (.*?) -->\n```\w+\n(.*?)```", section, flags=re.DOTALL
        ):
            _insert(root / name, after, code)
        for folder, command in commands(section):
            done = miniature.run(root, folder, *command.split())
            assert done.returncode == 0, f"{command}: {done.stderr}"
    report = (root / "digits" / "evaluate_MIAs" / "results" / "undefended_w_diffence" / "report.txt").read_text()
    assert "\nmargin  " in report and "\nregression  " in report
    assert (root / "parity" / "evaluate_MIAs" / "results" / "undefended" / "report.json").is_file()
    assert (root / "digits" / "evaluate_MIAs" / "results" / "labelsmoothing_w_diffence" / "report.json").is_file()


def _insert(path: Path, after: str, code: str) -> None:
    """Put code behind the first line of a file that contains a text, and behind what that line opens."""
    lines = path.read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if after in line)
    path.write_text("".join([*lines[: place + 1], code, *lines[place + 1 :]]))


def test_readme_has_two_screens() -> None:
    assert len(README.read_bytes()) <= 8000


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    text = DOCUMENTS[name].read_text()
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        path = DOCUMENTS[name].parent / file if file else DOCUMENTS[name]
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_and_make_targets_that_are_named_exist(name: str) -> None:
    text = DOCUMENTS[name].read_text()
    targets = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make (\w+)`", text)) <= targets
    for file in set(re.findall(r"`((?:common|tests|docs)?/?[\w/]+\.(?:py|md))`", text)):
        places = (".", "common", "common/models", "digits", "digits/evaluate_MIAs")
        assert f"<!-- file: {file} -->" in text or any((REPOSITORY / place / file).exists() for place in places), file
