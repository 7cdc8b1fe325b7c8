"""The scheduler's scripts of examples/, with a scheduler that is played: a job whose time is up, and that goes on."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import miniature, served
from tests.miniature import REPOSITORY

SCRIPTS = sorted((REPOSITORY / "examples").glob("*.sbatch"))
MODELS = Path("digits") / "diff_defense" / "diff_models"
SRUN = '#!/bin/sh\necho "srun $*" >>"$CALLS"\nexec "$@"\n'
SCONTROL = '#!/bin/sh\necho "scontrol $*" >>"$CALLS"\n[ "$1" != show ] || echo localhost\n'


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_can_read_it_and_its_time_is_told_before_it_is_up(script: Path) -> None:
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    text = script.read_text()
    for option in ("--requeue", "--signal=B:USR1@120", "--open-mode=append"):
        assert f"#SBATCH {option}\n" in text


def free_port() -> int:
    with socket.socket() as there:
        there.bind(("localhost", 0))
        return int(there.getsockname()[1])


class Scheduler:
    """Runs scripts as jobs of one node with one GPU's worth of processes."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.calls, commands = root, folder / "calls", folder / "bin"
        commands.mkdir()
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "CALLS": str(self.calls),
            "SLURM_JOB_ID": "42",
            "SLURM_SUBMIT_DIR": str(root),
            "SLURM_NNODES": "1",
            "SLURM_GPUS_ON_NODE": "1",
            "SLURM_JOB_NODELIST": "node[1-1]",
            "RENDEZVOUS_PORT": str(free_port()),
        }

    def start(self, script: str, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(REPOSITORY / "examples" / script), *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def test_a_job_goes_back_into_the_queue_and_ends_with_the_files_of_one_that_had_time(
    trained: Path, tmp_path: Path
) -> None:
    one, two = (Path(shutil.copytree(trained, tmp_path / name)) for name in ("one", "two"))
    for root in (one, two):
        miniature.shrink(root / "digits" / "configs" / "ddpm.yaml", {"training": {"total_steps": 60}})
        shutil.rmtree(root / MODELS)
    assert served.run(one, "digits", "train_ddpm.py").returncode == 0

    scheduler = Scheduler(two, tmp_path)
    job = scheduler.start("one-node.sbatch", "digits", "train_ddpm.py")
    while not (two / MODELS / "half.pt.progress").exists():
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.01)
    job.send_signal(signal.SIGUSR1)
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 0 and "job 42 goes back into the queue" in said
    assert scheduler.calls.read_text().splitlines() == [
        f"srun {sys.executable} train_ddpm.py --nproc 1",
        "scontrol requeue 42",
    ]
    assert (two / MODELS / "half.pt.progress").exists()

    job = scheduler.start("several-nodes.sbatch", "digits", "train_ddpm.py")
    said, _ = job.communicate(timeout=120)
    assert job.returncode == 0, said
    *_, shown, call = scheduler.calls.read_text().splitlines()
    assert shown == "scontrol show hostnames node[1-1]" and "--rdzv-endpoint localhost:" in call
    assert "begun, goes on where it stopped" in said
    for name in ("half.pt", "half.pt.log.csv", "samples.png"):
        assert (two / MODELS / name).read_bytes() == (one / MODELS / name).read_bytes(), name
