"""--help answers at once: it imports names, and none of what does the work."""

import subprocess
import sys

import pytest

from tests.miniature import DATASETS, REPOSITORY

COMMANDS = {
    "data_partition.py": "from common.cli import data_partition as main; main(None, ['--help'])",
    "train_ddpm.py": "from common.cli import train_ddpm as main; main(None, ['--help'])",
    "train_defense.py": "from common.cli import train_defense as main; main(None, ['--help'])",
    "train_shadows.py": "from common.cli import train_shadows as main; main(None, ['--help'])",
    "export_published.py": "from common.cli import export_published as main; main(None, ['--help'])",
    "evaluate_mia.sh": "from common.cli import evaluate as main; main(None, ['--help'])",
    "diffence": "from common.cli.main import main; main(['--help'])",
    "all-train-all.sh": "from common.cli.train_all import main; main(['--help'])",
    "python -m common.audit": "from common.cli.audit import main; main(['--help'])",
    "python -m common.new_dataset": "from common.cli.new_dataset import main; main(['--help'])",
    "python -m common.summary": "from common.cli.summary import main; main(['--help'])",
}
HEAVY = {"torch", "torchvision", "numpy", "scipy", "sklearn", "matplotlib", "opacus", "tqdm"}
NAMED = {"common.attacks", "common.defenses", "common.models"}  # packages whose names are shown
LIGHT = {"common", "common.cli", "common.runtime", *NAMED}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_imports_names_only(name):
    code = f"import sys, atexit\natexit.register(lambda: print('MODULES', *sorted(sys.modules)))\n{COMMANDS[name]}\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown, _, modules = done.stdout.partition("MODULES")
    assert f"usage: {name}" in shown
    imported = set(modules.split())
    assert not HEAVY & imported
    ours = {module for module in imported if module.split(".")[0] == "common"}
    assert {".".join(module.split(".")[:2]) for module in ours} <= LIGHT
    assert len(ours) <= 22


@pytest.mark.parametrize(
    ("name", "default"), [("evaluate_mia.sh", "(default: 0)"), ("train_ddpm.py", "(default: fp32)")]
)
def test_help_shows_defaults(name, default):
    done = subprocess.run([sys.executable, "-c", COMMANDS[name]], cwd=REPOSITORY, capture_output=True, text=True)
    assert default in done.stdout


def test_the_dataset_folders_are_found():
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS["all-train-all.sh"]], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert "{" + ",".join(sorted(DATASETS)) + "}" in done.stdout
