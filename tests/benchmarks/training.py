"""Training steps, their data path, and SELENA's soft labels."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from common import training
from common.datasets import to_float
from common.models import Classifier
from common.training import Labelled
from tests.benchmarks import models, plain
from tests.benchmarks.measure import Row, compared, seconds

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
    rows = []
    for precision, target in (("fp32", "1.25 x"), ("bf16", "2.2 x")):
        here = seconds(_steps(models.classifier(precision=precision), data), repeat=2)
        what = f"{STEPS} training steps of ResNet-18, batch {BATCH}, {precision}"
        rows.append(compared(what, plain=plain_seconds, here=here, target=target))
    path = seconds(lambda: list(training.batches(data, BATCH, generator=torch.Generator().manual_seed(0))))
    rows.append(Row("  data path of those steps", "", f"{path:.3f} s", f"{100 * path / here:.1f} %", "2 %"))
    return rows


def _steps(classifier: Classifier, data: Labelled) -> Callable[[], None]:
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3, amsgrad=True)

    def work() -> None:
        classifier.train()
        for images, labels, _ in training.batches(data, BATCH, generator=torch.Generator().manual_seed(0)):
            loss = F.cross_entropy(classifier(images), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return work


def soft_labels() -> list[Row]:
    """Of 10 teachers, 4 of which never saw each of 48 members, against one image at a time."""
    data, teachers = _data(48), 10
    generator = np.random.default_rng(0)
    unseen = np.zeros((len(data), teachers), dtype=bool)
    for row in unseen:
        row[generator.choice(teachers, 4, replace=False)] = True
    slow, fast = ([models.classifier(fast=layout)] * teachers for layout in (False, True))

    def here() -> torch.Tensor:
        total = torch.zeros(len(data), 10)
        for index, teacher in enumerate(fast):
            rows = torch.from_numpy(unseen[:, index])
            total[rows] += training.answer(teacher, data.images[rows]).softmax(dim=1)
        return total / 4

    expected = plain.soft_labels(slow, data.images, unseen)
    assert torch.allclose(here(), expected, atol=1e-4) and to_float(data.images).max() <= 1
    plain_seconds = seconds(lambda: plain.soft_labels(slow, data.images, unseen), repeat=1, warm=False)
    what = f"SELENA's soft labels of {len(data)} members, {teachers} teachers"
    return [compared(what, plain=plain_seconds, here=seconds(here), target="10 x")]
