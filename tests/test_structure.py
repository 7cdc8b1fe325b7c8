"""How the repository hangs together: the four folders, and who may import whom."""

import ast
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from common.attacks import ATTACKS, SHADOW_ATTACKS
from common.defenses import DEFENSES
from common.models import MODELS
from tests.miniature import DATASETS, REPOSITORY

# Who may import whom, by package; each may import itself. A dataset folder imports cli and experiment.
MAY_IMPORT = {
    "runtime": set(),
    "data": {"runtime"},
    "statistics": {"runtime"},
    "models": {"runtime"},
    "training": {"runtime"},
    "diffusion": {"runtime", "models", "training"},
    "diffence": {"runtime", "diffusion"},
    "defenses": {"runtime", "models", "training"},
    "attacks": {"runtime", "statistics", "models"},  # of models only the layers of its own networks: see below
    "formats": {"runtime", "models", "diffusion", "training"},  # of training what checkpoints say they were made from
    "evaluation": {"runtime", "data", "statistics", "diffence", "attacks"},
    "reports": {"runtime", "statistics", "attacks", "evaluation"},
    "experiment": {
        *("runtime", "data", "statistics", "models", "training", "diffusion", "diffence", "defenses", "attacks"),
        *("formats", "evaluation", "reports"),
    },
    "paper": {
        *("runtime", "statistics", "training", "diffusion", "diffence", "defenses", "attacks", "evaluation", "reports"),
        "experiment",
    },
    # attacks, defenses and models for the names in --help; reports and training for the summary, which needs no dataset
    "cli": {"runtime", "attacks", "defenses", "models", "evaluation", "experiment", "reports", "training", "paper"},
}
LONGEST = 250  # lines of a file in common/


def tracked(folder: str) -> dict[str, Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {line.removeprefix(f"{folder}/"): REPOSITORY / line for line in listed.stdout.splitlines()}


@pytest.mark.parametrize("dataset", DATASETS)
def test_dataset_folders_differ_in_yaml_values_only(dataset: str) -> None:
    ours, first = tracked(dataset), tracked(DATASETS[0])
    scripts, theirs = ({name for name in names if not name.endswith(".yaml")} for names in (ours, first))
    assert scripts == theirs and "data_partition.py" in scripts and "configs/data.yaml" in ours
    for name in scripts:
        assert ours[name].read_bytes() == first[name].read_bytes(), name
    for name in ours.keys() - scripts - {"configs/data.yaml"}:
        assert (REPOSITORY / "common" / name).is_file(), f"{name} replaces nothing of common/configs/"


def test_every_defence_has_its_yaml() -> None:
    for name in DEFENSES:
        assert (REPOSITORY / "common" / "configs" / f"{name}.yaml").is_file()


SOURCES = {name: path for name, path in tracked("common").items() if path.suffix == ".py"}


@pytest.mark.parametrize("name", SOURCES)
def test_each_package_imports_only_what_it_may(name: str) -> None:
    package, *inside = name.split("/")
    if not inside:  # common/__init__.py, common/summary.py
        package = "cli"
    for imported in _imports(SOURCES[name]):
        root, *rest = imported.split(".")
        assert root not in DATASETS, f"common imports the dataset folder {imported}"
        if root == "common" and rest and rest[0] in MAY_IMPORT:
            assert rest[0] == package or rest[0] in MAY_IMPORT[package], f"{name} imports {imported}"


def test_every_package_says_what_lives_there_and_stands_in_the_list() -> None:
    packages = {name.split("/")[0] for name in SOURCES if "/" in name}
    assert packages == MAY_IMPORT.keys()
    for package in packages:
        assert ast.get_docstring(ast.parse(SOURCES[f"{package}/__init__.py"].read_text())), package


@pytest.mark.parametrize("name", SOURCES)
def test_no_file_is_too_long_to_read(name: str) -> None:
    assert len(SOURCES[name].read_text().splitlines()) < LONGEST


def _imports(path: Path) -> set[str]:
    """Every module and name that is imported, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_attacks_see_arrays_only() -> None:
    allowed = ("errors", "rng", "config", "registry", "progress")  # the last, since a long fitting must not be silent
    for name, path in SOURCES.items():
        if name.startswith("attacks/"):
            imported = {module for module in _imports(path) if module.startswith("common.")}
            runtime = tuple(f"common.runtime.{module}" for module in allowed)
            expected = ("common.attacks", "common.statistics", "common.models.mlp", *runtime)
            assert all(module.startswith(expected) for module in imported), (name, imported)


def test_registries_name_things_that_are_there() -> None:
    for registry in (ATTACKS, SHADOW_ATTACKS, DEFENSES, MODELS):
        for name, thing in registry.items():
            assert thing is registry[name] and name in registry
    for attacks, by_shadows in ((ATTACKS, False), (SHADOW_ATTACKS, True)):
        assert [(attack.name, attack.needs.shadows) for attack in attacks.values()] == [
            (n, by_shadows) for n in attacks
        ]


def test_the_environment_has_one_source_of_versions() -> None:
    assert "-r requirements-test.txt" in (REPOSITORY / "environment.yaml").read_text()
    for path in REPOSITORY.glob("requirements*.txt"):
        for line in path.read_text().splitlines():
            package = line.partition("#")[0].strip()
            assert not package or "==" in package or package.startswith(("-r ", "--extra-index-url ")), line


@pytest.mark.parametrize("target", ["test", "lint", "bench"])
def test_make_starts_in_a_folder_whose_name_has_a_blank(tmp_path: Path, target: str) -> None:
    root = tmp_path / "my drive"
    (root / ".venv" / "bin").mkdir(parents=True)
    for path in (REPOSITORY / "Makefile", *REPOSITORY.glob("requirements*.txt")):
        shutil.copy(path, root)
    python = root / ".venv" / "bin" / "python"
    python.write_text("#!/bin/sh\necho started with $2\n")
    python.chmod(0o755)
    (root / ".venv" / ".complete").touch()
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS")}
    done = subprocess.run(["make", target], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "started with" in done.stdout, done.stderr
