"""Near-copies without asking them: each is answered from a random group of a larger pool of candidates.

A copy that differs by one grey level has the image's reconstructions in all but the noise, so its N candidates are N
more draws from the image's own distribution. One pool of M draws, purified once, then gives any number of queries:
each takes N of the M in random order. Queries share draws, so there is never more to learn than from M candidates.
Without a fence a near-copy is answered like the image.
"""

from collections.abc import Sequence

import torch

from common.diffence import Candidates, Rule
from common.evaluation.answers import Asked
from common.runtime import rng
from common.runtime.modes import Work


def simulated(
    pool: Candidates, rule: Rule, keys: Sequence[bytes], *, count: int, group: int, seed: rng.Part, work: Work
) -> Asked:
    """Near-copies of n samples, ``count`` of each, behind a fence of ``group`` candidates.

    pool:  all M candidates of each sample, M at least ``group``
    keys:  names each sample, for its random orders

    work:  of the fence
    """
    asked, raw = [], torch.tensor([pool.count])
    for own, phi, key in zip(pool.logits, pool.phi, keys, strict=True):
        generator = rng.torch_generator(seed, "near copies", key)
        order = torch.rand(count, pool.count, generator=generator).argsort(dim=1)
        drawn = torch.cat([order[:, :group], raw.expand(count, 1)], dim=1)  # the raw candidate last
        ranks = torch.rand(count, dtype=torch.float64, generator=generator)
        copies = Candidates(own[drawn], torch.full((count,), group), ranks).judged(phi[drawn])
        asked.append(Asked.of(copies, rule, work=work))
    return Asked(*(torch.stack(parts) for parts in zip(*asked, strict=True)))
