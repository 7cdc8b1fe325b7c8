"""The project as a package: its metadata against the requirements files, a wheel, and an editable install."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from common import __version__
from tests.miniature import REPOSITORY
from tests.test_structure import tracked

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
BUILD = ("--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check")
FOR_A_BUILD = ("pyproject.toml", "README.md", "LICENSE")


def pins(name: str) -> dict[str, str]:
    """Package -> version, of a requirements file without those that it includes."""
    lines = (line.partition("#")[0].strip() for line in (REPOSITORY / name).read_text().splitlines())
    pairs = (line.split("==") for line in lines if "==" in line)
    return {package.lower(): version for package, version in pairs}


def bounds(requirements: list[str]) -> dict[str, str]:
    return {each.name.lower(): str(each.specifier) for each in map(Requirement, requirements)}


def test_the_lower_bounds_are_the_oldest_versions_and_the_pins_keep_them() -> None:
    wanted, oldest = bounds(PROJECT["dependencies"]), pins("requirements-oldest.txt")
    assert wanted == {name: f">={version}" for name, version in oldest.items()}
    newest = pins("requirements.txt")
    assert newest.keys() == wanted.keys()
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert requirement.specifier.contains(newest[requirement.name.lower()])
    cpu = pins("requirements-cpu.txt")
    assert {name: version.removesuffix("+cpu") for name, version in cpu.items()} == {
        name: newest[name] for name in ("torch", "torchvision")
    }


def test_every_optional_requirements_file_is_an_extra() -> None:
    others = {"test", "oldest", "cpu"}
    files = {path.stem.removeprefix("requirements-") for path in REPOSITORY.glob("requirements-*.txt")} - others
    extras = PROJECT["optional-dependencies"]
    assert extras.keys() == files
    for name, requirements in extras.items():
        expected = {package: f">={version}" for package, version in pins(f"requirements-{name}.txt").items()}
        assert bounds(requirements) == expected, name


def pip(*words: str, cwd: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run(python: Path | str, *words: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(python), *words], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a wheel of the repository was unpacked into."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    shutil.copytree(REPOSITORY / "common", source / "common", ignore=shutil.ignore_patterns("__pycache__"))
    for name in FOR_A_BUILD:
        shutil.copy(REPOSITORY / name, source)
    pip("wheel", ".", *BUILD, "--wheel-dir", str(built), cwd=source)
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"diffence-{__version__}-py3-none-any.whl"
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_a_wheel_has_every_file_of_the_package(installed: Path) -> None:
    there = {
        str(path.relative_to(installed / "common")) for path in (installed / "common").rglob("*") if path.is_file()
    }
    assert there == set(tracked("common")) and "py.typed" in there
    assert {path.name for path in installed.iterdir()} == {"common", f"diffence-{__version__}.dist-info"}


def test_an_installed_wheel_works_where_no_repository_is(installed: Path, tmp_path: Path) -> None:
    """The package is found, its YAML files are read, and dataset folders are those of the current folder."""
    shutil.copytree(REPOSITORY / "digits" / "configs", tmp_path / "mine" / "configs")
    code = (
        "import common, sys; from common.runtime.paths import dataset_names, PAPER_RESULTS, EVALUATION\n"
        "print(common.__file__, dataset_names(), PAPER_RESULTS.is_file(), EVALUATION.is_file())"
    )
    said = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(installed))
    assert said.split(maxsplit=1)[0] == str(installed / "common" / "__init__.py")
    assert "('mine',) True True" in said
    diffence = ("-m", "common.cli.main")
    assert run(sys.executable, *diffence, "--version", cwd=tmp_path, PYTHONPATH=str(installed)) == (
        f"diffence {__version__}\n"
    )
    assert "mine" in run(sys.executable, *diffence, "train-all", "--help", cwd=tmp_path, PYTHONPATH=str(installed))


def test_the_example_of_the_readme_runs_in_any_folder_after_an_editable_install(trained: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(trained, tmp_path / "my clone"))
    for name in FOR_A_BUILD:
        shutil.copy(REPOSITORY / name, root)
    place = tmp_path / "environment"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (site / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")  # torch and all the rest
    pip("--python", str(python), "install", "--editable", str(root), *BUILD, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), flags=re.DOTALL)
    run(python, "-c", code, cwd=elsewhere)
    assert (root / "digits" / "diff_defense" / "diff_models" / "fence.key").is_file()
    shown = run(place / "bin" / "diffence", "train-ddpm", "--dry-run", cwd=root / "digits")
    assert "there already and up to date" in shown
    assert "digits" in run(place / "bin" / "diffence", "train-all", "--help", cwd=elsewhere)
    done = subprocess.run([place / "bin" / "diffence", "train-ddpm"], cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 1 and "no dataset folder" in done.stderr and "Traceback" not in done.stderr
