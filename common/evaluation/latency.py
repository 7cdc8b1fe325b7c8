"""How long one query takes, asked alone, on the device at hand."""

import time
from collections.abc import Callable

import torch

from common.evaluation.answers import FencedPopulation
from common.evaluation.judge import Pair
from common.runtime.images import to_float

QUERIES = 16


def milliseconds_per_query(fenced: FencedPopulation, pair: Pair) -> tuple[float, float]:
    """Of the classifier alone, and of the fence with the interval of a protocol: the mean over some test images."""
    bank, population = fenced.bank, fenced.population
    chosen = torch.from_numpy(population.partition.test_order[-QUERIES:])
    images = to_float(population.test.images[chosen].to(bank.device))
    fence, before = bank.fence, bank.fence.rule
    assert pair.fenced.rule is not None
    fence.rule = pair.fenced.rule
    try:
        return milliseconds(fence.classifier, images), milliseconds(fence, images)
    finally:
        fence.rule = before


@torch.no_grad()
def milliseconds(answer: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, *, batch: int = 1) -> float:
    """A sample, the mean over batches of images; the first batch is asked once before, to warm up."""
    batches, times = images.split(batch), []
    for asked in (batches[0], *batches):
        start = time.perf_counter()
        answer(asked).cpu()  # which waits for a GPU
        times.append(1000 * (time.perf_counter() - start))
    return sum(times[1:]) / len(images)
