"""Near-copies without asking them: each is answered from a random group of a larger pool of candidates.

A copy that differs by one grey level has the image's reconstructions in all but the noise, so its N candidates are N
more draws from the image's own distribution. One pool of M draws, purified once, then gives any number of queries:
each takes N of the M in random order. Queries share draws, so there is never more to learn than from M candidates.
Without a fence a near-copy is answered like the image.
"""

from collections.abc import Sequence

import torch

from common.diffence import Candidates, Interval
from common.diffence.rule import choose, inside
from common.runtime import rng


def simulated(
    pool: Candidates, interval: Interval, keys: Sequence[bytes], *, count: int, group: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers [n, count, K] to near-copies of each sample behind a fence of ``group`` candidates, and their work.

    pool:  all M candidates of each sample, M at least ``group``
    keys:  names each sample, for its random orders

    The work, int64 [n, count], is the reconstructions that an answer takes, drawn one after the other.
    """
    logits, work = [], []
    raw = torch.tensor([pool.count])
    for own, phi, keeps, key in zip(pool.logits, pool.phi, pool.keeps, keys, strict=True):
        order = torch.rand(count, pool.count, generator=rng.torch_generator(seed, "near copies", key)).argsort(dim=1)
        asked = torch.cat([order[:, :group], raw.expand(count, 1)], dim=1)  # the raw candidate last
        answer = choose(phi[asked], keeps[asked], interval)
        logits.append(own[asked[torch.arange(count), answer]])
        refused = inside(phi[asked], keeps[asked], interval)[:, :-1].cumsum(dim=1) == 0
        work.append((refused.sum(dim=1) + 1).clamp(max=group))
    return torch.stack(logits), torch.stack(work)
