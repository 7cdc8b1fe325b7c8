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

AT_ONCE = 64  # samples, whose copies are judged together


def simulated(
    pool: Candidates, rule: Rule, keys: Sequence[bytes], *, count: int, group: int, seed: rng.Part, work: Work
) -> Asked:
    """Near-copies of n samples, ``count`` of each, behind a fence of ``group`` candidates.

    pool:  all M candidates of each sample, M at least ``group``
    keys:  names each sample, for its random orders

    work:  of the fence
    """
    parts = []
    for start in range(0, len(pool), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        named = [_drawn(pool.count, key, count=count, group=group, seed=seed) for key in keys[rows]]
        drawn, ranks = (torch.stack(each) for each in zip(*named, strict=True))
        of_sample = torch.arange(len(drawn))[:, None, None]
        logits, phi = (whole[rows][of_sample, drawn].flatten(0, 1) for whole in (pool.logits, pool.phi))
        copies = Candidates(logits, torch.full((len(logits),), group), ranks.flatten()).judged(phi)
        parts.append(Asked.of(copies, rule, work=work))
    return Asked(*(torch.cat(each).unflatten(0, (-1, count)) for each in zip(*parts, strict=True)))


def _drawn(candidates: int, key: bytes, *, count: int, group: int, seed: rng.Part) -> tuple[torch.Tensor, torch.Tensor]:
    """Which candidates each copy of a sample has, int64 [count, group + 1], the raw one last, and its rank [count]."""
    generator = rng.torch_generator(seed, "near copies", key)
    order = torch.rand(count, candidates, generator=generator).argsort(dim=1)
    drawn = torch.cat([order[:, :group], torch.full((count, 1), candidates)], dim=1)
    return drawn, torch.rand(count, dtype=torch.float64, generator=generator)
