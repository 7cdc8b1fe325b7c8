"""Whole evaluations: against the plain procedure, in two processes, and their memory."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import storage
from common.bank import BankStore
from common.diffence import Diffence
from common.diffusion import Denoiser
from common.partition import Partition, Role
from common.training import Labelled
from tests import miniature
from tests.benchmarks import models, plain
from tests.benchmarks.measure import Row, compared, seconds

SAMPLES = 6  # per role and kind
FULL_SIZE: dict[str, dict[str, Any]] = {
    "classifier": {"resnet": {"width": 64, "blocks": [2, 2, 2, 2]}},
    "ddpm": {"unet": {"ch": 128, "ch_mult": [1, 2, 2, 2], "attn": [1], "num_res_blocks": 2}},
    "diffence": {"num_candidates": 30, "group_size": 2},
    "evaluation": {"num_sample": SAMPLES, "bootstrap": 1000, "nn_attack": {"epochs": 200, "decay_epoch": 100}},
}


@contextmanager
def _repository() -> Iterator[Path]:
    """A repository of small archives, with full-size models of drawn weights in place for cifar10."""
    with tempfile.TemporaryDirectory() as temporary:
        root = miniature.build(Path(temporary))
        for name, changes in FULL_SIZE.items():
            miniature.shrink(root / "cifar10" / "configs" / f"{name}.yaml", changes)
        _run(root, "cifar10", "data_partition.py")
        folder = root / "cifar10"
        network = models.classifier().network
        storage.save_checkpoint(
            folder / "final-all-models" / "resnet" / "undefended.pth.tar", {"state_dict": network.state_dict()}
        )
        unet = models.denoiser().predict_noise
        assert isinstance(unet, torch.nn.Module)
        diffusion = folder / "diff_defense" / "diff_models"
        storage.save_checkpoint(diffusion / "half.pt", {"ema_model": unet.state_dict()})
        flags = ["ch=128", *(f"ch_mult={mult}" for mult in (1, 2, 2, 2)), "attn=1", "num_res_blocks=2", "dropout=0.1"]
        flags += ["T=1000", "beta_1=0.0001", "beta_T=0.02", "img_size=32", "mean_type=epsilon"]
        storage.write_text(diffusion / "half.txt", "".join(f"--{flag}\n" for flag in flags))
        yield root


def _run(root: Path, folder: str, script: str, *options: str, threads: str | None = None) -> None:
    environment = {} if threads is None else {"OMP_NUM_THREADS": threads}
    done = miniature.run(root, folder, "python", script, *options, **environment)
    assert done.returncode == 0, done.stderr


def _evaluation_seconds(root: Path, *options: str, threads: str | None = None) -> float:
    """What an evaluation says it took, from reading the models to the verdict; nothing is there beforehand."""
    results = root / "cifar10" / "evaluate_MIAs"
    for made in ("banks", "results"):
        shutil.rmtree(results / made, ignore_errors=True)
    _run(root, "cifar10/evaluate_MIAs", "evaluate.py", "--defense", "undefended", *options, threads=threads)
    return json.loads((results / "results" / "undefended" / "report.json").read_text())["seconds"]


def evaluation() -> list[Row]:
    """Against the plain procedure, which purifies the known sets twice and the target sets once, then attacks.

    The published protocol is the same work; both protocols are one set more.
    """
    x = models.images(plain.BATCH)
    slow, denoiser = models.classifier(fast=False), models.denoiser(fast=False)
    of_candidate = seconds(lambda: plain.candidates(slow, denoiser, x, count=1)) / plain.BATCH
    purified = 2 * SAMPLES * (2 + 1) * 30 * of_candidate  # of members and of others
    rows = []
    with _repository() as root:
        for protocol in ("published", "both"):
            for precision, target in (("fp32", "3 x"), ("bf16", "6 x")):
                options = ("--precision", precision, "--protocol", protocol)
                here = _evaluation_seconds(root, *options)
                attacks = _again_seconds(root, *options)
                what = f"whole evaluation, {SAMPLES} + {SAMPLES} a role, protocol {protocol}, {precision}"
                rows.append(compared(what, plain=purified + attacks, here=here, target=target))
    return rows


def _again_seconds(root: Path, *options: str) -> float:
    """Of the same evaluation where the bank is there already: attacks and report."""
    _run(root, "cifar10/evaluate_MIAs", "evaluate.py", "--defense", "undefended", *options)
    report = root / "cifar10" / "evaluate_MIAs" / "results" / "undefended" / "report.json"
    return json.loads(report.read_text())["seconds"]


def processes() -> list[Row]:
    """Two processes with one thread each, against one with one thread."""
    with _repository() as root:
        one = _evaluation_seconds(root, threads="1")
        two = _evaluation_seconds(root, "--nproc", "2", threads="1")
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


class _Experiment:
    """Members alone, of 32x32 pixels."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
        none = np.arange(0)
        order = np.arange(count)
        self.partition = Partition(
            members=order, validation=none, reference=none, test_order=order, key="", permutation=order
        )
        self.spec = type("Spec", (), {"num_classes": 10})

    def training_part(self, indices: np.ndarray) -> Labelled:
        return Labelled(self.pixels[indices], torch.zeros(len(indices), dtype=torch.int64))

    test_part = training_part


def _peak_of_bank(count: int) -> int:
    """Kibibytes of this process after a bank of so many images; the networks are next to nothing."""
    denoiser = Denoiser(lambda x, index: torch.zeros_like(x), models.ALPHA_BAR)
    with tempfile.TemporaryDirectory() as temporary:
        fenced = Diffence(lambda x: x.flatten(1)[:, :10], denoiser, num_candidates=N)
        store = BankStore(_Experiment(count), fenced, Path(temporary), group_size=50)  # type: ignore[arg-type]
        store.bank(Role(np.arange(count), np.arange(1)), until=None, desc="")
    # not getrusage's: that begins with the peak of the process which started this one
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    print(_peak_of_bank(int(sys.argv[1])))
