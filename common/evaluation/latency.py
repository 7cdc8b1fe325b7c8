"""How long one query takes, asked alone, on the device at hand."""

import statistics
import time
from collections.abc import Callable

import torch

from common.evaluation.answers import FencedPopulation
from common.evaluation.judge import Pair
from common.runtime.images import to_float

QUERIES = 16  # and one before them, to warm up


def milliseconds_per_query(fenced: FencedPopulation, pair: Pair) -> tuple[float, float]:
    """Of the classifier alone, and of the fence with the interval of a protocol: the mean over some test images."""
    bank, population = fenced.bank, fenced.population
    chosen = torch.from_numpy(population.partition.test_order[-QUERIES - 1 :])
    images = to_float(population.test.images[chosen].to(bank.device))
    fence, before = bank.fence, bank.fence.rule
    assert pair.fenced.rule is not None
    fence.rule = pair.fenced.rule
    try:
        return _mean(fence.classifier, images), _mean(fence, images)
    finally:
        fence.rule = before


@torch.no_grad()
def _mean(answer: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> float:
    times = []
    for image in images:
        start = time.perf_counter()
        answer(image[None]).cpu()  # which waits for a GPU
        times.append(1000 * (time.perf_counter() - start))
    return statistics.fmean(times[1:])
