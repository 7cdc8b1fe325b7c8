"""How the repository hangs together: the four folders, and who may import whom."""

import ast
import subprocess
from pathlib import Path

import pytest

from common.defenses import DEFENSES
from tests.miniature import DATASETS, REPOSITORY

# Imports point down this list only; modules of one line may import each other's lines below.
LAYERS = [
    {"cli", "train_all", "summary"},
    {"report", "departures", "results"},
    {"pictures"},
    {"evaluation"},
    {"protocols"},
    {"bank"},
    {"defenses"},
    {"ddpm_training", "diffusers_format", "experiment"},
    {"training", "flags"},
    {"partition"},
    {"diffence", "attacks"},
    {"models"},
    {"diffusion", "datasets", "published"},
    {"config", "rng", "storage", "device", "paths", "tables", "interval_search"},
    {"distributed"},
    {"errors"},
]


def tracked(folder: str) -> dict[str, Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {line.removeprefix(f"{folder}/"): REPOSITORY / line for line in listed.stdout.splitlines()}


@pytest.mark.parametrize("dataset", DATASETS)
def test_dataset_folders_differ_in_yaml_values_only(dataset: str) -> None:
    ours, first = tracked(dataset), tracked(DATASETS[0])
    assert ours.keys() == first.keys() and "data_partition.py" in ours
    for name, path in ours.items():
        if path.suffix != ".yaml":
            assert path.read_bytes() == first[name].read_bytes(), name


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_defence_has_its_yaml(dataset: str) -> None:
    for name in DEFENSES:
        assert (REPOSITORY / dataset / "configs" / f"{name}.yaml").is_file()


@pytest.mark.parametrize("path", sorted(tracked("common").values()), ids=str)
def test_imports_point_down(path: Path) -> None:
    if path.suffix != ".py":
        return
    module = path.relative_to(REPOSITORY / "common").parts[0].removesuffix(".py")
    if module == "__init__":
        return
    for imported in _imports(path):
        assert imported.split(".")[0] not in DATASETS, f"common imports the dataset folder {imported}"
        parts = imported.split(".")
        if parts[0] == "common" and len(parts) > 1 and parts[1] != module:
            assert _layer(parts[1]) > _layer(module), f"common.{module} imports {imported}"


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _layer(module: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if module in layer)


def test_attacks_see_arrays_only() -> None:
    for path in tracked("common/attacks").values():
        imported = {name for name in _imports(path) if name.startswith("common.")}
        allowed = ("common.attacks", "common.config", "common.rng", "common.models.mlp")
        assert all(name.startswith(allowed) for name in imported), (path, imported)


def test_the_environment_has_one_source_of_versions() -> None:
    assert "-r requirements-test.txt" in (REPOSITORY / "environment.yaml").read_text()
    for path in REPOSITORY.glob("requirements*.txt"):
        for line in path.read_text().splitlines():
            package = line.partition("#")[0].strip()
            assert not package or "==" in package or package.startswith("-r "), f"{line} is not pinned"
