"""A bank of 70 tiny samples behind a fence that needs no network."""

import numpy as np
import torch

from common.data.partition import Partition, Permutation, Role
from common.diffence import Diffence
from common.evaluation.answers import FencedPopulation, Population
from common.evaluation.bank import Bank
from common.runtime.images import Labelled
from tests.common.formula import images

N, K = 3, 2
GENERATOR = np.random.default_rng(0)
PARTITION = Partition(
    members=GENERATOR.permutation(50)[:40],
    validation=np.arange(0),
    reference=np.arange(0),
    test_order=GENERATOR.permutation(30),
    key="",
    permutation=Permutation("digits", np.arange(50), source="seed 0", sha256=None),
)
PIXELS = (images(80, 1, 4, 4) * 255).to(torch.uint8)
TRAIN = Labelled(PIXELS[:50], torch.arange(50) % K)
TEST = Labelled(PIXELS[50:], torch.arange(30) % K)
POPULATION = Population(PARTITION, TRAIN, TEST)


class Shifting(torch.nn.Module):
    """A diffusion model that shifts images a little, by their noise; counts what it is asked."""

    num_steps = 10
    image_shape = only_steps = None

    def __init__(self):
        super().__init__()
        self.asked = 0

    def shape_of(self, image_shape):
        return image_shape

    def purify(self, x, noise, *, step, noising):
        self.asked += len(x)
        return (x + 0.1 * noise).clamp(0, 1)


def bank(folder, *, group_size=8, num_candidates=N, capacity=None, seed=0):
    fence = Diffence(
        lambda x: 9 * x.flatten(1)[:, :K] - 4,
        Shifting(),
        num_candidates=num_candidates,
        step=1,
        batch_size=1,
        key=seed,
    )
    return Bank(fence, folder, group_size, capacity or num_candidates, K, torch.device("cpu"))


def fenced(folder, *, group_size=8, many=4 * N):
    near = bank(folder / "near", group_size=group_size, num_candidates=many, seed=1)
    return FencedPopulation(POPULATION, bank(folder, group_size=group_size), near)


def role(members, test):
    return Role(PARTITION.members[members], PARTITION.test_order[test])
