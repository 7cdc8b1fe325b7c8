"""An evaluation written out in plain loops, and candidates by formula to try it on.

No function of the project's but the search of the interval and the fit of the NN attack.
"""

import functools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

from common.attacks import ATTACKS
from common.attacks.interface import Needs
from common.attacks.lira import LiraConfig
from common.attacks.nn import NNAttackConfig
from common.attacks.rmia import RmiaConfig
from common.data.partition import Partition, Permutation
from common.diffence import Candidates
from common.evaluation.answers import RoleCandidates
from common.evaluation.boundary import BoundaryConfig
from common.evaluation.judge import judge
from common.evaluation.protocols import HELD_OUT, EvaluationConfig, NearCopiesConfig, ShadowsConfig, draw
from tests.common.diffence.slow import fence_config

K, N = 3, 4
CONFIG = EvaluationConfig(
    num_sample=12,
    bootstrap=100,
    nn_attack=NNAttackConfig(epochs=3, batch_size=8, learning_rate=1e-3, decay_epoch=2, validation=0.25),
    near_copies=NearCopiesConfig(candidates=8),
    boundary=BoundaryConfig(samples=2, steps=1),
    shadows=ShadowsConfig(
        candidates=4,
        diffusion="shared",
        lira=LiraConfig(centre="mean", variance="one"),
        rmia=RmiaConfig(gamma=2.0, a=0.3),
    ),
)
ONCE = replace(HELD_OUT, chosen=tuple(name for name, attack in ATTACKS.items() if attack.needs == Needs()))
"""The held-out protocol with the attackers who ask once."""

ORDERS = [np.random.default_rng(seed).permutation(size) for seed, size in ((0, 90), (1, 60))]
PARTITION = Partition(
    ORDERS[0][:56], np.arange(0), np.arange(0), ORDERS[1], "", Permutation("digits", ORDERS[0], "seed 0", None)
)


class Formula:
    """A fenced population whose members are answered more surely; records what it is asked for."""

    population = SimpleNamespace(partition=PARTITION)

    def __init__(self):
        self.asked = []

    def draw(self, role, *, until, desc):
        self.asked.append((desc, until))
        logits = np.concatenate([candidates(role.members, gap=2.0), candidates(role.non_members + 1000, gap=1.0)])
        indices = np.concatenate([role.members, role.non_members])
        return RoleCandidates(
            Candidates(torch.from_numpy(logits), torch.full((len(logits),), N)),
            indices % K,
            np.arange(len(indices)) < len(role.members),
        )


@functools.cache
def _of_sample(index, gap):
    logits = np.random.default_rng(index).normal(size=(N + 1, K))
    logits[:, index % 1000 % K] += gap
    logits[-1] *= 2
    return logits.astype(np.float32)


def candidates(indices, *, gap):
    """Each sample's own: float32 [n, N + 1, K], the raw one last and surer than the others."""
    return np.array([_of_sample(int(index), gap) for index in indices])


@functools.cache
def run(protocol):
    """Candidates and verdicts of a protocol, and the population that they were asked of."""
    population = Formula()
    drawn = draw(population, protocol, CONFIG, fence=fence_config(), desc="x")
    return drawn, judge(drawn, CONFIG, seed=3), population


def slow_answer(row, interval):
    if interval is None:
        return row[-1]
    label = int(np.argmax(row[-1]))
    keepers = [(phi(z), z) for z in row if int(np.argmax(z)) == label]
    inside = [z for value, z in keepers if interval[0] <= value <= interval[1]]
    middle = (interval[0] + interval[1]) / 2
    return inside[0] if inside else min(keepers, key=lambda keeper: abs(keeper[0] - middle))[1]


def probabilities(z):
    e = [math.exp(float(v) - max(map(float, z))) for v in z]
    return [v / math.fsum(e) for v in e]


def phi(z):
    p = max(probabilities(z))
    return math.log(p) - math.log1p(-p)


def slow_scores(z, y):
    """By attack, as the published evaluation defines them, with higher for members, on scales without an end."""
    p = probabilities(z)
    entropy = -math.fsum(q * math.log(q) for q in p)
    modified = -(1 - p[y]) * math.log(p[y]) - math.fsum(p[i] * math.log(1 - p[i]) for i in range(len(p)) if i != y)
    return {
        "confidence": math.log(p[y] / (1 - p[y])),
        "loss": math.log(p[y] / (1 - p[y])),
        "entropy": -math.log(entropy),
        "modified_entropy": -math.log(modified),
        "correctness": float(int(np.argmax(z)) == y),
    }


def slow_set(members, non_members, interval):
    """(logits, label, is a member) of every sample of a set of indices."""
    rows = [(z, int(i) % K, True) for i, z in zip(members, candidates(members, gap=2.0).astype(float), strict=True)]
    others = candidates(non_members + 1000, gap=1.0).astype(float)
    rows += [(z, int(i) % K, False) for i, z in zip(non_members, others, strict=True)]
    return [(slow_answer(z, interval), y, member) for z, y, member in rows]


def slow_auc(ours, theirs):
    return math.fsum((a > b) + 0.5 * (a == b) for a in ours for b in theirs) / (len(ours) * len(theirs))


def slow_measures(ours, theirs):
    """AUC, best accuracy in hindsight, TPR at FPR below 0.1 %, TNR at FNR below 0.1 %."""
    cuts = [*ours, *theirs, math.inf]
    rates = [(np.mean([s >= c for s in ours]), np.mean([s >= c for s in theirs])) for c in cuts]
    tpr = max((t for t, f in rates if f < 0.001), default=0)
    tnr = max((1 - f for t, f in rates if 1 - t < 0.001), default=0)
    return slow_auc(ours, theirs), max((t + 1 - f) / 2 for t, f in rates), tpr, tnr


def published_sets():
    """Known and target: the halves of members and of the test set, the first 12 of each."""
    members, test = PARTITION.members, PARTITION.test_order
    return (members[:28][:12], test[:30][:12]), (members[28:][:12], test[30:][:12])
