"""Whole evaluations: against the plain procedure, in two processes, and their memory."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from common.diffence.fence import Diffence
from common.diffusion.denoiser import Denoiser
from common.evaluation.bank import Bank, Part
from common.runtime import device
from tests import miniature
from tests.benchmarks import models
from tests.benchmarks.inference import plain_seconds_per_candidate
from tests.benchmarks.measure import Row, compared

ONCE = ("confidence", "loss", "entropy", "modified_entropy", "correctness", "nn")  # the attackers who ask once
SAMPLES = 48  # per role and kind; of half as many, intervals are so much chance that queries need up to 26 passes
FULL_SIZE: dict[str, dict[str, Any]] = {  # and trained for some minutes
    "data": {"members": 200, "reference": 100, "validation": 50},
    "classifier": {"resnet": {"width": 64, "blocks": [2, 2, 2, 2]}},
    "undefended": {"epochs": 10, "batch_size": 50},
    "ddpm": {
        "unet": {"ch": 128, "ch_mult": [1, 2, 2, 2], "attn": [1], "num_res_blocks": 2},
        "training": {
            "total_steps": 100,
            "steps_per_round": 50,
            "batch_size": 16,
            "warmup_steps": 20,
            "ema_decay": 0.95,
        },
    },
    "evaluation": {"num_sample": SAMPLES, "bootstrap": 1000, "nn_attack": {"epochs": 200, "decay_epoch": 100}},
}


@cache
def _repository() -> Path:
    """A repository whose cifar10 holds handwritten digits of CIFAR's shape, and full-size networks trained on them.

    The training is the real one, but short: enough to tell digits apart, and noise from digits.
    """
    temporary = tempfile.TemporaryDirectory()
    atexit.register(temporary.cleanup)
    root = miniature.build(Path(temporary.name), cifar10=_large_digits())
    for name, changes in FULL_SIZE.items():
        miniature.shrink(root / "cifar10" / "configs" / f"{name}.yaml", changes)
    print("training full-size networks on digits of CIFAR's shape: some minutes", file=sys.stderr)
    _run(root, "cifar10", "data_partition.py")
    _run(root, "cifar10", "train_ddpm.py", "--precision", "bf16")
    _run(root, "cifar10", "train_defense.py", "--defense", "undefended", "--precision", "bf16")
    return root


def _large_digits() -> miniature.Pictures:
    """Scikit-learn's digits, 8x8 pixels of grey, as 32x32 pixels of colour."""
    digits = load_digits()
    small = torch.from_numpy(digits.images).float()[:, None] * (255 / 16)
    large = F.interpolate(small, size=32, mode="bicubic").clamp(0, 255).round().byte().repeat(1, 3, 1, 1).numpy()
    labels = digits.target.tolist()
    return miniature.Pictures(large[:1000], labels[:1000], large[1000:], labels[1000:])


def _run(root: Path, folder: str, script: str, *options: str, threads: str | None = None) -> None:
    environment = {} if threads is None else {"OMP_NUM_THREADS": threads}
    done = miniature.run(root, folder, "python", script, *options, **environment)
    assert done.returncode == 0, done.stderr


def _report(root: Path, *options: str, anew: bool, threads: str | None = None) -> dict[str, Any]:
    """The report of an evaluation by these options; ``anew`` takes away first what earlier ones left."""
    results = root / "cifar10" / "evaluate_MIAs"
    for made in ("banks", "results") if anew else ():
        shutil.rmtree(results / made, ignore_errors=True)
    _run(
        root,
        "cifar10/evaluate_MIAs",
        "evaluate.py",
        "--defense",
        "undefended",
        "--attacks",
        *ONCE,
        *options,
        threads=threads,
    )
    return json.loads((results / "results" / "undefended_w_diffence" / "report.json").read_text())


def evaluation() -> list[Row]:
    """Against the plain procedure, which purifies the known sets twice and the target sets once, then attacks.

    That is the published protocol; both protocols are more, and the plain procedure is not charged for it.
    """
    purified = 2 * SAMPLES * (2 + 1) * 30 * plain_seconds_per_candidate()  # of members and of others
    root, rows = _repository(), []
    miniature.shrink(root / "cifar10" / "configs" / "diffence.yaml", {"num_candidates": 30, "group_size": 50})
    for precision, target in (("fp32", "3 x"), ("bf16", "6 x")):
        published = ("--precision", precision, "--protocol", "published")
        reports = {"published": _report(root, *published, anew=True)}
        attacks = _report(root, *published, anew=False)["seconds"]  # and no candidates
        reports["both"] = _report(root, "--precision", precision, anew=True)
        for protocol, report in reports.items():
            needed = report["reconstructions_per_query"]
            what = f"evaluation, {SAMPLES} + {SAMPLES} a role, {protocol}, {precision}, {needed:.1f} passes a query"
            rows.append(compared(what, plain=purified + attacks, here=report["seconds"], target=target))
    return rows


def processes() -> list[Row]:
    """Two processes with one thread each, against one with one thread, for ten candidates.

    In small groups, since there are few samples to share out.
    """
    root = _repository()
    miniature.shrink(root / "cifar10" / "configs" / "diffence.yaml", {"num_candidates": 10, "group_size": 6})
    one = _report(root, anew=True, threads="1")["seconds"]
    two = _report(root, "--nproc", "2", anew=True, threads="1")["seconds"]
    return [compared("evaluation in two processes of one thread", plain=one, here=two, target="1.8 x")]


def memory() -> list[Row]:
    """Peak memory of the bank of 1,000 and of 10,000 images, beside what n x N images would take."""
    peaks = []
    for count in (1_000, 10_000):
        command = [sys.executable, "-m", "tests.benchmarks.evaluations", str(count)]
        environment = {**os.environ, "PYTHONPATH": str(miniature.REPOSITORY)}
        peaks.append(int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout))
    grown = (peaks[1] - peaks[0]) / 1024
    images = 9_000 * N * 3 * 32 * 32 * 4 / 2**20
    bank = 9_000 * (N + 1) * 10 * 4 / 2**20
    what = f"peak memory, 10,000 images less 1,000 (bank {bank:.0f} MiB), beside n x N images"
    return [Row(what, f"{images:.0f} MiB", f"{grown:.0f} MiB", f"{images / grown:.0f} x", "bank and answers only")]


N = 10


def _peak_of_bank(count: int) -> int:
    """Kibibytes of this process after a bank of so many images; the networks are next to nothing."""
    device.keep_freed_memory()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    denoiser = Denoiser(lambda x, index: torch.zeros_like(x), models.ALPHA_BAR)
    with tempfile.TemporaryDirectory() as temporary:
        fenced = Diffence(lambda x: x.flatten(1)[:, :10], denoiser, num_candidates=N)
        bank = Bank(fenced, Path(temporary), group_size=50, capacity=N, num_classes=10, device=torch.device("cpu"))
        bank.draw([Part("members", count, np.arange(count), pixels)], until=None, desc="")
    # not getrusage's: that begins with the peak of the process which started this one
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    print(_peak_of_bank(int(sys.argv[1])))
