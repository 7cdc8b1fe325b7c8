"""The interval search and the attacks, which see arrays only."""

import math

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from common.attacks import ATTACKS, suite
from common.attacks import nn as nn_attack
from common.attacks.interface import Fitting
from common.attacks.nn import NNAttackConfig
from common.attacks.observations import Observations
from common.diffence import Candidates, intervals
from common.runtime import device
from common.runtime.images import Labelled
from common.statistics import roc
from common.statistics.bootstrap import Bootstrap
from common.training import classifier
from tests.benchmarks import plain
from tests.benchmarks.measure import Row, compared, rate, seconds

K = 10
RUNS = 8  # of the NN attack: its small products are twice as slow while the system keeps both threads on one core


def interval() -> list[Row]:
    """Of 1,000 + 1,000 samples with 31 candidates each, from their phi to the interval."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(1000, 31, K, generator=generator) + torch.eye(K)[0] * gap for gap in (6.0, 5.0))
    known = [Candidates(part, torch.full((1000,), 30)) for part in logits]
    phis = [part.phi.where(part.keeps, math.nan).numpy() for part in known]
    found = []
    plain_seconds = seconds(
        lambda: found.append(plain.interval(*phis, grid_points=intervals.GRID_POINTS)), repeat=1, warm=False
    )
    tuned = intervals.most_alike(*known)
    assert np.allclose(found[0], tuned, rtol=0, atol=1e-12), (found, tuned)
    device.keep_freed_memory()
    here = seconds(lambda: intervals.most_alike(*known))
    return [compared("interval search, 1,000 + 1,000 samples", plain=plain_seconds, here=here, target="0.3 s")]


def _answers(seed: int, count: int = 1000) -> Observations:
    """Of ``count`` members and as many others, members somewhat surer."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, K, 2 * count)
    member = np.arange(2 * count) < count
    logits = generator.normal(size=(2 * count, K))
    logits[np.arange(2 * count), labels] += np.where(member, 5, 4)
    return Observations.of_images(logits, labels, member)


def attacks() -> list[Row]:
    """The suite on 4 x 1,000 answers, and the NN attack."""
    fit_on, test = _answers(0), _answers(1)
    config = NNAttackConfig(epochs=20, batch_size=64, learning_rate=5e-4, decay_epoch=100, validation=0.25)
    resamples = Bootstrap.draw(test.membership, resamples=1000, seed=0)

    def without_nn() -> None:
        untrained = [attack for attack in ATTACKS.values() if not attack.learns]
        for scored in suite.run(untrained, fit_on, test, Fitting(None, 0)).scored.values():
            roc.auc(*scored)
            resamples.aucs(*scored)

    features = [nn_attack.features_of(part) for part in (fit_on, test)]
    nn_plain = seconds(
        lambda: plain.nn_attack(
            features[0], fit_on.member, features[1], test.member,
            num_classes=K, epochs=config.epochs, learning_rate=config.learning_rate,
        ), repeat=RUNS,
    )  # fmt: skip
    device.keep_freed_memory()
    alone = seconds(without_nn)

    def nn() -> None:
        """The plain one's work: trained on all answers, and the epoch picked by the test."""
        nn_attack.fit(fit_on, config, seed=0, choose_on=test).scores(test)

    def held_out() -> None:
        """What this project trusts: trained on three quarters of them, and the epoch picked by the last one."""
        nn_attack.fit(fit_on, config, seed=0).scores(test)

    what = f"NN attack, {config.epochs} epochs on 1,000 + 1,000"
    return [
        Row("attacks but NN, with bootstrap intervals, 4 x 1,000", "", f"{alone:.2f} s", "", "1 s"),
        compared(f"{what}, published way", plain=nn_plain, here=seconds(nn, repeat=RUNS), target="3 x"),
        compared(
            f"{what}, held-out way, a quarter to validate",
            plain=nn_plain,
            here=seconds(held_out, repeat=RUNS),
            target="3 x",
        ),
        rate("its network, published way", nn),
    ]


def reading() -> list[Row]:
    """60,000 images made ready for the classifier, against image by image through PIL."""
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    count, part = 60_000, 3_000
    raw = torch.randint(256, (count, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    arrays = raw[:part].permute(0, 2, 3, 1).contiguous().numpy()
    slow = seconds(lambda: torch.stack([transform(Image.fromarray(array)) for array in arrays]), repeat=2)

    device.keep_freed_memory()
    data = Labelled(raw, torch.zeros(count, dtype=torch.int64))
    shape = (1, 3, 1, 1)
    normalise = [torch.tensor(values).view(shape) for values in (mean, std)]

    def epoch() -> None:
        """What an epoch of training does before the first layer."""
        for images, *_ in classifier.batches(data, 128, generator=torch.Generator().manual_seed(0)):
            images.sub_(normalise[0]).div_(normalise[1])

    plain_seconds = slow * math.ceil(count / part)
    return [compared("60,000 images read and normalised", plain=plain_seconds, here=seconds(epoch), target="10 x")]
