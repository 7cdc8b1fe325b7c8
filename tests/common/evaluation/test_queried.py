"""A classifier asked by itself: what attackers have equals what asking image by image gives."""

import numpy as np
import pytest
import torch

from common.attacks.interface import Needs
from common.evaluation.boundary import BoundaryConfig
from common.evaluation.queried import observe
from common.evaluation.queries import changed
from common.runtime.images import Labelled

N, K, SEED = 12, 3, 4
WEIGHTS = torch.randn(64, K, generator=torch.Generator().manual_seed(1)) / 4
SAMPLES = Labelled(
    torch.randint(0, 256, (N, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8),
    torch.arange(N) % K,
)
MEMBER = np.arange(N) < N // 2
NEEDS = Needs({"image": 1, "near_copy": 3, "noise_5": 2, "shift": 4}, {"noise_5": 5, "rotation": 6, "flip": 1})
BOUNDARY = BoundaryConfig(samples=2, steps=1)


class Linear:
    def __init__(self, softmax=False):
        self.softmax, self.asked = softmax, 0

    def __call__(self, x):
        assert x.dtype == torch.float32 and x.min() >= 0 and x.max() <= 1
        self.asked += len(x)
        logits = x.flatten(1) @ WEIGHTS
        return logits.softmax(dim=1) if self.softmax else logits


def asked_of(classify, **how):
    return observe(classify, SAMPLES, MEMBER, NEEDS, BOUNDARY, outputs=None, seed=SEED, **how)


def test_every_answer_is_that_of_the_change_asked_alone_and_none_is_asked_twice():
    classify = Linear()
    observations, found = asked_of(classify, batch=5)
    assert found.outputs == "logits" and observations.member is not None
    assert classify.asked == N * (1 + 3 + 5 + 4 + 6 + 1)  # two of the five noisy copies serve both kinds of attackers
    numbers: dict[str, int] = {}
    for place, kind in enumerate(observations.queries):
        number = numbers[kind] = numbers.get(kind, -1) + 1
        for row in range(N):
            x = changed(SAMPLES.images[row : row + 1], kind, number, seed=SEED).float() / 255
            assert observations.answers[row, place] == pytest.approx((x.flatten(1) @ WEIGHTS)[0].numpy(), abs=1e-5)
    own = observations.logits.argmax(axis=1)
    flipped = (changed(SAMPLES.images, "flip", 0, seed=SEED).float().flatten(1) / 255 @ WEIGHTS).argmax(dim=1).numpy()
    assert np.array_equal(observations.kept("flip")[:, 0], flipped == own)
    assert 0 < observations.kept("rotation").mean() < 1


def test_probabilities_are_told_by_their_sums_in_all_answers_together():
    of_both = [asked_of(Linear(softmax))[0] for softmax in (False, True)]
    gaps = [each.answers - each.answers[..., :1] for each in of_both]
    assert gaps[1] == pytest.approx(gaps[0], abs=1e-4)
    assert asked_of(Linear(True))[1].outputs == "probabilities"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda x: x.mean(dim=(1, 2, 3)), r"answered \(12,\) to 12 images"),
        (lambda x: (x,), "answered tuple"),
        (lambda x: torch.full((len(x), K), torch.nan), "NaN"),
    ],
)
def test_what_is_no_answer_is_refused(answer, says):
    with pytest.raises(ValueError, match=says):
        asked_of(answer)
