"""Observations in which every attack finds what it needs."""

from dataclasses import replace
from functools import reduce

import numpy as np

from common.attacks import ATTACKS
from common.attacks.interface import Needs
from common.attacks.observations import Observations

NEEDS = reduce(Needs.together, (attack.needs for attack in ATTACKS.values()))


def observations(n, *, seed, separation=1.0, num_classes=3):
    """n samples, half of them members; members' answers are surer of the true label, all of them a little different."""
    generator = np.random.default_rng(seed)
    labels, member = generator.integers(0, num_classes, n), generator.permutation(n) % 2 == 0
    logits = generator.normal(size=(n, 1, num_classes))
    logits[np.arange(n), 0, labels] += separation * member
    queries = tuple(kind for kind, count in NEEDS.queries.items() for _ in range(count))
    label_queries = tuple(kind for kind, count in NEEDS.labels.items() for _ in range(count))
    answers = logits + 0.1 * generator.normal(size=(n, len(queries), num_classes))
    return replace(
        Observations.of_images(answers[:, 0], labels, member),
        answers=answers,
        queries=queries,
        work=generator.integers(1, 31, (n, len(queries))),
        interval=(0.0, 1.0),
        labels_kept=generator.random((n, len(label_queries))) < 0.8,
        label_queries=label_queries,
        boundary=generator.random(n),
        boundary_cost=1000,
    )
