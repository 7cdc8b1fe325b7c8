"""Training steps, their data path, and SELENA's soft labels."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from common.defenses import selena
from common.models.classifiers import Classifier
from common.runtime import device
from common.runtime.images import Labelled
from common.training import classifier
from tests.benchmarks import models, plain
from tests.benchmarks.measure import Row, compared, rate, seconds

BATCH = 128
STEPS = 3


def _data(count: int) -> Labelled:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 32, 32), generator=generator).to(torch.uint8)
    return Labelled(images, torch.randint(10, (count,), generator=generator))


def step() -> list[Row]:
    """A training step of ResNet-18, batch 128."""
    data = _data(STEPS * BATCH)
    plain_seconds = seconds(_steps(models.classifier(fast=False), data), repeat=2)
    device.keep_freed_memory()
    rows = []
    for precision, target in (("fp32", "1.25 x"), ("bf16", "2.2 x")):
        work = _steps(models.classifier(precision=precision), data)
        here = seconds(work, repeat=2)
        what = f"{STEPS} training steps of ResNet-18, batch {BATCH}, {precision}"
        rows.append(compared(what, plain=plain_seconds, here=here, target=target))
        rows.append(rate(f"those steps, {precision}", work, precision=precision))
    path = seconds(lambda: list(classifier.batches(data, BATCH, generator=torch.Generator().manual_seed(0))))
    rows.append(Row("  data path of those steps", "", f"{path:.3f} s", f"{100 * path / here:.1f} %", "2 %"))
    return rows


def _steps(classifier: Classifier, data: Labelled) -> Callable[[], None]:
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3, amsgrad=True)

    def work() -> None:
        classifier.train()
        for images, labels, _ in classifier.batches(data, BATCH, generator=torch.Generator().manual_seed(0)):
            loss = F.cross_entropy(classifier(images), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return work


def soft_labels() -> list[Row]:
    """Of members by 10 teachers, 4 of which never saw each, against one image at a time."""
    rows = []
    for what, count, build in (("ResNet-18", 48, models.classifier), ("digits' ResNet", 200, models.small_classifier)):
        images = (models.images(count) * 255).to(torch.uint8)
        images = images if what == "ResNet-18" else images[:, :1, :8, :8].contiguous()
        generator = np.random.default_rng(0)
        unseen = np.stack([generator.permutation(10) < 4 for _ in range(count)])
        slow, fast = ([build(fast=layout)] * 10 for layout in (False, True))
        here = partial(selena.soft_labels, fast, images, torch.from_numpy(unseen), averaged="probabilities")
        assert torch.allclose(here(), plain.soft_labels(slow, images, unseen), atol=1e-4)
        plain_seconds = seconds(partial(plain.soft_labels, slow, images, unseen), repeat=1, warm=False)
        device.keep_freed_memory()
        name = f"SELENA's soft labels of {count} members, 10 x {what}"
        rows.append(compared(name, plain=plain_seconds, here=seconds(here), target="10 x"))
        rows.append(rate("those answers", here))
    return rows
