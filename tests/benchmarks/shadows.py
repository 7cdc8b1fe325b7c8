"""Training many classifiers of digits on two cores: one after the other, several in one pass, or in two processes."""

import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from tests.benchmarks import models
from tests.benchmarks.measure import Row, compared
from tests.miniature import REPOSITORY

BATCH, STEPS, WARM = 50, 60, 10
AT_ONCE = 8


def shadow_models() -> list[Row]:
    """Seconds for 400 training steps of one of many models, beside two threads on one model at a time."""
    one = _seconds(_one_by_one(), steps=STEPS)
    together = _seconds(_together(), steps=STEPS // 4) / AT_ONCE
    command = [sys.executable, "-m", "tests.benchmarks.shadows"]
    started = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    apart = sum(float(process.communicate()[0]) for process in started) / 2 / len(started)
    return [
        compared(f"a shadow model of digits, {AT_ONCE} in one pass by torch.func", plain=one, here=together, target=""),
        compared("a shadow model of digits, two processes of one thread", plain=one, here=apart, target="the faster"),
    ]


def _seconds(step: Callable[[], None], *, steps: int) -> float:
    """Of 400 steps, by as many as that after some to warm up."""
    for _ in range(WARM):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return 400 * (time.perf_counter() - start) / steps


def _data(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, BATCH, 1, 8, 8, generator=generator)
    return images, torch.randint(10, (count, BATCH), generator=generator)


def _one_by_one() -> Callable[[], None]:
    classifier = models.small_classifier().train()
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3, amsgrad=True)
    images, labels = _data(1)

    def step() -> None:
        loss = F.cross_entropy(classifier(images[0]), labels[0])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def _together() -> Callable[[], None]:
    """A step of all of them: their weights stacked, and one pass over all."""
    networks = [models.small_classifier().train() for _ in range(AT_ONCE)]
    stacked, buffers = stack_module_state(networks)
    weights = {name: weight.detach().requires_grad_() for name, weight in stacked.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=1e-3, amsgrad=True)
    images, labels = _data(AT_ONCE)
    network = networks[0].to("meta")

    def of_one(weights: dict, buffers: dict, images: torch.Tensor) -> torch.Tensor:
        return functional_call(network, (weights, buffers), (images,))

    def step() -> None:
        logits = vmap(of_one, randomness="different")(weights, buffers, images)
        loss = AT_ONCE * F.cross_entropy(logits.flatten(0, 1), labels.flatten())  # each model has its own mean loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(_seconds(_one_by_one(), steps=STEPS))
