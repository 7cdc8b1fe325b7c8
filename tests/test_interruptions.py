"""SIGKILL at random instants, then the same command: the files of an uninterrupted run, to the byte."""

import json
import random
import shutil
import time
from pathlib import Path

import pytest

from common.defenses import DEFENSES
from tests import miniature, served
from tests.miniature import FEW, files_below

COMMANDS = {
    "ddpm": ("digits", "train_ddpm.py"),
    **{name: ("digits", "train_defense.py", "--defense", name) for name in DEFENSES},
    "shadows": ("digits", "train_shadows.py", "--defense", "undefended", "--count", "2"),
    "evaluation": ("digits/evaluate_MIAs", "evaluate.py", "--defense", "undefended", *FEW),
}
KILLS = max(3, -(-20 // len(COMMANDS)))  # at least 20 over all commands


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_and_run_again_ends_with_the_same_bytes(trained: Path, tmp_path: Path, name: str) -> None:
    fresh = tmp_path / "fresh"
    shutil.copytree(trained, fresh)
    _forget(fresh / "digits", name)
    killed = tmp_path / "killed"
    shutil.copytree(fresh, killed)

    start = time.monotonic()
    assert served.run(fresh, *COMMANDS[name]).returncode == 0
    duration = time.monotonic() - start

    instants = random.Random(name)
    for attempt in range(KILLS):
        process = served.start(killed, *COMMANDS[name], output=tmp_path / f"{attempt}")
        time.sleep(instants.uniform(0, duration))
        process.kill()
        process.join()
    done = served.run(killed, *COMMANDS[name])
    assert done.returncode == 0, done.stderr
    assert _comparable(killed / "digits") == _comparable(fresh / "digits")


def _forget(folder: Path, name: str) -> None:
    """Take away what the command makes."""
    if name == "ddpm":
        shutil.rmtree(folder / "diff_defense" / "diff_models")
    elif name == "shadows":
        shutil.rmtree(folder / "final-all-models" / "resnet" / "undefended.shadows", ignore_errors=True)
    elif name == "evaluation":
        for made in ("banks", "results"):
            shutil.rmtree(folder / "evaluate_MIAs" / made, ignore_errors=True)
    else:
        for path in (folder / "final-all-models" / "resnet").glob(f"{name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _comparable(folder: Path) -> dict[str, object]:
    """Every file below but the seconds it took, which no two runs share."""
    files: dict[str, object] = dict(files_below(folder))
    for name, data in list(files.items()):
        if name.endswith(".seconds.json") or "__pycache__" in name:
            del files[name]
        elif name.endswith("report.json"):
            assert isinstance(data, bytes)
            report = json.loads(data)
            del report["seconds"], report["milliseconds_per_query"], report["made"]
            files[name] = report
    return files


def test_a_run_goes_on_where_it_stopped(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    _forget(root / "digits", "ddpm")
    miniature.shrink(root / "digits" / "configs" / "ddpm.yaml", {"training": {"total_steps": 2000}})
    progress = root / "digits" / "diff_defense" / "diff_models" / "half.pt.progress"
    process = served.start(root, *COMMANDS["ddpm"], output=tmp_path / "first")
    while not progress.exists():
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    log = progress.with_name("half.pt.progress.csv")
    before = _rounds(log) if log.exists() else []
    again = served.start(root, *COMMANDS["ddpm"], output=tmp_path / "second")
    while not log.exists() or len(_rounds(log)) < len(before) + 2:
        assert again.is_alive()
        time.sleep(0.01)
    again.kill()
    again.join()
    rounds = _rounds(log)
    assert rounds == list(range(1, len(rounds) + 1)) and len(rounds) < 1000  # no row twice, and it was not done
    assert not progress.with_name("half.pt.log.csv").exists()


def _rounds(log: Path) -> list[int]:
    return [int(line.split(",")[0]) for line in log.read_text().splitlines()[1:]]
