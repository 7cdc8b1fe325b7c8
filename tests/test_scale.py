"""Two processes instead of one: the same files, to the last bit where one model is one process's work."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests import miniature, served
from tests.miniature import files_below, run

EVALUATION = ("--defense", "undefended")


@pytest.fixture
def pair(trained: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two copies of the miniature, for one process and for two."""
    roots = tmp_path / "one", tmp_path / "two"
    for root in roots:
        shutil.copytree(trained, root)
        for made in ("banks", "results"):
            shutil.rmtree(root / "digits" / "evaluate_MIAs" / made, ignore_errors=True)
    return roots


def test_an_evaluation_by_two_processes_gives_the_reports_of_one(pair: tuple[Path, Path]) -> None:
    one, two = pair
    assert served.run(one, "digits/evaluate_MIAs", "evaluate.py", *EVALUATION).returncode == 0
    done = run(two, "digits/evaluate_MIAs", "bash", "evaluate_mia.sh", *EVALUATION, "--nproc", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Shown one training image") == 1  # one of the two speaks
    assert _evaluated(two) == _evaluated(one)


def _evaluated(root: Path) -> dict[str, object]:
    """Banks and results, but for the seconds that it took."""
    files: dict[str, object] = dict(files_below(root / "digits" / "evaluate_MIAs"))
    for name in [name for name in files if name.endswith("report.json")]:
        report = json.loads((root / "digits" / "evaluate_MIAs" / name).read_text())
        del report["seconds"], report["milliseconds_per_query"], report["made"]
        files[name] = report
    return {name: content for name, content in files.items() if "__pycache__" not in name}


def test_two_processes_train_the_teachers_and_the_student_of_one(pair: tuple[Path, Path]) -> None:
    one, two = pair
    command = ("train_defense.py", "--defense", "selena")
    for root in pair:
        for path in (root / "digits" / "final-all-models" / "resnet").glob("selena*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert served.run(one, "digits", *command).returncode == 0
    done = run(two, "digits", "python", *command, "--nproc", "2")
    assert done.returncode == 0, done.stderr
    models = [
        {
            name: content
            for name, content in files_below(root / "digits" / "final-all-models" / "resnet").items()
            if name.endswith(".pth.tar")
        }
        for root in pair
    ]
    assert "selena.teachers/02.pth.tar" in models[0] and models[0] == models[1]


def test_two_processes_share_shadow_models_out(pair: tuple[Path, Path]) -> None:
    command = ("train_shadows.py", "--defense", "selena", "--count", "2")
    for root, options in zip(pair, ((), ("--nproc", "2")), strict=True):
        assert served.run(root, "digits", "train_defense.py", "--defense", "selena").returncode == 0
        shutil.rmtree(root / "digits" / "final-all-models" / "resnet" / "selena.shadows", ignore_errors=True)
        done = run(root, "digits", "python", *command, *options)
        assert done.returncode == 0, done.stderr
    stores = [files_below(root / "digits" / "final-all-models" / "resnet" / "selena.shadows") for root in pair]
    assert sorted(stores[0]) == [*(f"{number:04}.logits.pth" for number in range(3)), "store.json"]
    assert stores[0] == stores[1]


def test_two_processes_train_one_diffusion_model_together(pair: tuple[Path, Path]) -> None:
    """Each step is that of the whole batch, so only rounding differs; dropout, which draws by process, is off."""
    states = []
    for root, options in zip(pair, ((), ("--nproc", "2")), strict=True):
        miniature.shrink(root / "digits" / "configs" / "ddpm.yaml", {"unet": {"dropout": 0.0}})
        done = run(root, "digits", "python", "train_ddpm.py", *options)
        assert done.returncode == 0, done.stderr
        states.append(torch.load(root / "digits" / "diff_defense" / "diff_models" / "half.pt", weights_only=True))
    for name, weights in states[0]["ema_model"].items():
        torch.testing.assert_close(states[1]["ema_model"][name], weights, rtol=1e-3, atol=1e-5)
    log = [(root / "digits" / "diff_defense" / "diff_models" / "half.pt.log.csv").read_text() for root in pair]
    losses = [[float(line.split(",")[1]) for line in text.splitlines()[1:]] for text in log]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_all_train_all_shares_the_models_out(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    for dataset in ("digits", "svhn"):
        shutil.rmtree(root / dataset / "final-all-models")
    options = ("--dataset", "digits", "--dataset", "svhn", "--defense", "memguard", "--nproc", "2")
    done = run(root, ".", "bash", "all-train-all.sh", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    for dataset in ("digits", "svhn"):
        assert sorted(path.name for path in (root / dataset / "final-all-models" / "resnet").glob("*.pth.tar")) == [
            "memguard.pth.tar",
            "undefended.pth.tar",
        ]
    summary = done.stdout[done.stdout.rindex("\n\n") :]
    assert summary.count(" ok ") == 6


def test_what_one_process_says_is_wrong_ends_them_all(trained: Path, tmp_path: Path) -> None:
    """The second process finds its teacher damaged, and the first waits for it in vain."""
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    models = root / "digits" / "final-all-models" / "resnet"
    for path in models.glob("selena*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    teacher = models / "selena.teachers" / "01.pth.tar"
    teacher.parent.mkdir()
    teacher.write_bytes(b"damaged")
    done = run(root, "digits", "python", "train_defense.py", "--defense", "selena", "--nproc", "2")
    assert done.returncode == 1
    assert "01.pth.tar: not a readable checkpoint" in done.stderr and "Traceback" not in done.stderr
    assert not (models / "selena.pth.tar").exists()


def test_several_processes_can_be_interrupted(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    miniature.shrink(root / "digits" / "configs" / "ddpm.yaml", {"training": {"total_steps": 20000}})
    (root / "digits" / "diff_defense" / "diff_models" / "half.pt").unlink()
    process = subprocess.Popen(
        [sys.executable, "train_ddpm.py", "--nproc", "2"], cwd=root / "digits", stderr=subprocess.PIPE, text=True
    )
    progress = root / "digits" / "diff_defense" / "diff_models" / "half.pt.progress"
    while not progress.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "interrupted: the same command goes on" in said and "Traceback" not in said


def test_over_seeds_one_process_trains_what_one_trains_and_the_others_wait(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    options = ("--attacks", "loss", "--defense", "memguard", "--seeds", "4", "--nproc", "2")
    done = run(root, "digits/evaluate_MIAs", "bash", "evaluate_mia.sh", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Mean and standard deviation") == 1  # one of the two speaks
    models = root / "digits" / "seeds" / "4" / "final-all-models" / "resnet"
    assert {path.name for path in models.glob("*.pth.tar")} == {"memguard.pth.tar", "undefended.pth.tar"}


def test_what_one_process_trains_takes_no_more(trained: Path) -> None:
    done = run(trained, "digits", "python", "train_defense.py", "--defense", "hamp", "--nproc", "2")
    assert done.returncode == 1 and "--defense hamp is trained by one process: leave --nproc away" in done.stderr


def test_a_diffusion_model_whose_training_is_refused_stays_as_it_was(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    miniature.shrink(root / "digits" / "configs" / "ddpm.yaml", {"unet": {"ch_mult": [1, 1, 1, 1, 1]}})
    before = files_below(root / "digits" / "diff_defense")
    done = served.run(root, "digits", "train_ddpm.py")
    assert done.returncode == 1 and "cannot be halved" in done.stderr
    assert files_below(root / "digits" / "diff_defense") == before
