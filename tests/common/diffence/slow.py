"""The paper's rule and its search as plain loops, and candidates to try them on."""

import math

import numpy as np
import torch

from common.diffence import Candidates, phi
from common.diffence.measures import DiffenceConfig


def slow_select(logits, interval):
    """The method as it is described; all candidates [N + 1, K] of one image, the raw ones last."""
    label = logits[-1].argmax()
    keepers = [(i, phi(z).item()) for i, z in enumerate(logits) if z.argmax() == label]
    for i, value in keepers:
        if interval.lo <= value <= interval.hi:
            return i
    middle = (interval.lo + interval.hi) / 2
    return min(keepers, key=lambda keeper: abs(keeper[1] - middle))[0]  # of equally near ones the first


def diffence_config(**changes):
    """What configs/diffence.yaml may say."""
    steady = {"noise": "shared", "selection": "matched", "criterion": "ks", "tolerance": 0.05, "work": "constant"}
    settings = {
        "num_candidates": 4,
        "step": 160,
        "scenario": 1,
        "noising": "ddpm",
        "group_size": 5,
        "fence": "steady",
        "steady": {"num_candidates": 4, "answer": "select", **steady},
    }
    return DiffenceConfig.model_validate(settings | changes)


def fence_config(fence="paper", **changes):
    """The settings of one fence."""
    return diffence_config(**changes).of(fence)


def chosen_by(candidates, interval):
    """Which candidate answers each image."""
    return interval.choose(candidates.phi, candidates.keeps)


def whole(logits):
    """Candidates [n, N + 1, K] that are all drawn."""
    logits = torch.as_tensor(logits)
    return Candidates(logits, torch.full((len(logits),), logits.shape[1] - 1))


def confident(value, label=0):
    """Two logits with this phi for this label."""
    return [value, 0.0] if label == 0 else [0.0, value]


def known_samples(seed, *, gap, n=12):
    """Candidates of n images, N = 3, K = 3, of a classifier that is surer of members; some change the label."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, 4, 3))
    logits[..., 0] += gap
    return whole(torch.from_numpy(logits).float())


def plain_phi(logits):
    """log p - log(1 - p) of the top probability, in plain Python numbers."""
    top = max(logits)
    others = [math.exp(z - top) for i, z in enumerate(logits) if i != logits.index(top)]
    p = 1 / (1 + math.fsum(others))
    return math.log(p) - math.log(math.fsum(others) * p)


def plain_select(phis, lo, hi):
    inside = [value for value in phis if lo <= value <= hi]
    return inside[0] if inside else min(phis, key=lambda value: abs(value - (lo + hi) / 2))


def plain_distance(members, non_members):
    """Jensen-Shannon: the root of the mean of both divergences from the middle, natural logarithms."""
    lo, hi = min(non_members), max(non_members)
    shares = []
    for values in (members, non_members):
        counts = [0] * 100
        for value in values:
            if lo <= value <= hi:
                counts[min(int((value - lo) / (hi - lo) * 100), 99)] += 1
        if not any(counts):
            return math.nan
        clipped = [max(count, 1e-19) for count in counts]
        shares.append([count / math.fsum(clipped) for count in clipped])
    p, q = shares
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    divergences = [math.fsum(a * math.log(a / m) for a, m in zip(part, middle, strict=True)) for part in (p, q)]
    return math.sqrt(max(math.fsum(divergences), 0) / 2)
