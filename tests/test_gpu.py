"""Every command on a pretended GPU: nothing asks one thing of tensors in two places, and answers are the CPU's."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from common.runtime.device import move
from tests import served
from tests.common.pretended_gpu import GPU, PretendedGpu
from tests.miniature import FEW

ON_GPU = ("--device", "cuda")
ASK = """
import sys
import torch
sys.path.insert(0, "..")
from digits.diff_defense import fence
classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).to("cuda")
images = torch.rand(5, 1, 8, 8).to("cuda")
for name in ("paper", "steady"):
    fenced = fence(classifier, fence=name, device="cuda")
    logits = fenced(images)
    assert logits.device.type == "cuda" and (logits.argmax(dim=1) == classifier(images).argmax(dim=1)).all()
    fenced.save("saved/" + name)
    again = type(fenced).load("saved/" + name, classifier, device="cuda")
    assert torch.equal(again(images), logits)
"""


@pytest.fixture(scope="module")
def root(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature whose digits has a partition, and a diffusion model and an undefended classifier of the GPU."""
    copy = Path(shutil.copytree(trained, tmp_path_factory.mktemp("gpu") / "copy"))
    for made in ("final-all-models", "diff_defense/diff_models"):
        shutil.rmtree(copy / "digits" / made)
    train(copy, "train_ddpm.py")
    train(copy, "train_defense.py", "--defense", "undefended")
    return copy


def train(root: Path, script: str, *options: str) -> None:
    done = served.run(root, "digits", script, *options, *ON_GPU, machine=PretendedGpu)
    assert done.returncode == 0, f"{script} {options}: {done.stderr}"


def report(root: Path, folder: str) -> dict:
    return json.loads((root / "digits" / "evaluate_MIAs" / "results" / folder / "report.json").read_text())


def test_the_pretended_gpu_refuses_what_a_real_one_refuses() -> None:
    with PretendedGpu() as gpu:
        there, layer = torch.rand(3, 3, device="cuda"), torch.nn.Linear(3, 2).to("cuda")
        for wrong in (
            lambda: there + torch.rand(3),
            lambda: layer(torch.rand(1, 3)),
            lambda: torch.rand(3)[torch.zeros(1, dtype=torch.long).to(GPU)],
            lambda: there.__setitem__(torch.tensor([0]), torch.rand(1, 3)),
            lambda: there.numpy(),
            lambda: there.pin_memory(),
            lambda: torch.rand(3, device="cuda", generator=torch.Generator()),
        ):
            with pytest.raises((RuntimeError, TypeError), match=r"GPU"):
                wrong()
        layer(there[torch.tensor([0, 2])] + 1).sum().backward()
        assert layer.weight.grad is not None and layer.weight.grad.device == there[0].device == GPU
        assert there.cpu().device.type == there.to("cpu").device.type == "cpu" and there.to(GPU) is there
        assert gpu.operations > 0


def test_what_lies_on_the_gpu_stays_there_and_is_not_pinned() -> None:
    with PretendedGpu():
        there = move(torch.arange(3), GPU)
        assert there.device == GPU and move(there, GPU) is there
        assert move(there, torch.device("cpu")).tolist() == [0, 1, 2]


@pytest.mark.parametrize("defense", ["selena", "advreg", "hamp", "relaxloss", "memguard"])
def test_a_defence_is_trained(root: Path, defense: str) -> None:
    """DP-SGD is left out: Opacus gets its gradients from C++, where the pretended GPU does not see them."""
    train(root, "train_defense.py", "--defense", defense)


def test_an_evaluation_finds_what_it_finds_on_the_cpu(root: Path) -> None:
    found = []
    for device, machine in (("cuda", PretendedGpu), ("cpu", nullcontext)):
        shutil.rmtree(root / "digits" / "evaluate_MIAs" / "banks", ignore_errors=True)
        options = ("--defense", "undefended", *FEW, "--device", device)
        done = served.run(root, "digits/evaluate_MIAs", "evaluate.py", *options, machine=machine)
        assert done.returncode == 0 and f"digits on {device}" in done.stdout + done.stderr, done.stderr
        found.append(report(root, "undefended_w_diffence")["protocols"]["held_out"]["attacks"])
    ours, theirs = ({name: row["auc"] for name, row in attacks.items()} for attacks in found)
    assert ours == pytest.approx(theirs, abs=0.02)


def test_an_output_defence_is_evaluated(root: Path) -> None:
    train(root, "train_defense.py", "--defense", "memguard")
    options = ("--defense", "memguard", "--protocol", "held_out", *FEW, *ON_GPU)
    done = served.run(root, "digits/evaluate_MIAs", "evaluate.py", *options, machine=PretendedGpu)
    assert done.returncode == 0, done.stderr


def test_shadow_models_are_trained_and_audited(root: Path) -> None:
    train(root, "train_shadows.py", "--defense", "undefended", "--count", "8")
    options = ("--defense", "undefended", "--shadows", *ON_GPU)
    done = served.run(root, "digits/evaluate_MIAs", "evaluate.py", *options, machine=PretendedGpu)
    assert done.returncode == 0, done.stderr


def test_a_fence_answers_is_saved_and_read(root: Path) -> None:
    (root / "digits" / "ask.py").write_text(ASK)
    done = served.run(root, "digits", "ask.py", machine=PretendedGpu)
    assert done.returncode == 0, done.stderr
