"""What pages say of a dataset's settings and samples, against its configs and counts by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common.data.partition import Partition
from common.experiment.experiment import Experiment
from common.paper import ITEMS, figure6, settings, table3, table6, words
from common.runtime.paths import DatasetFolder
from tests.miniature import REPOSITORY


def of(name, root: Path = REPOSITORY):
    return SimpleNamespace(name=name, experiment=Experiment.at(DatasetFolder(root / name), device="cpu"))


def test_digits_says_what_is_other_than_the_papers():
    network, training, diffusion = settings.departures(ITEMS["table3"], of("digits"))
    assert "In place of ResNet-18" in network and "32 (64), blocks of each stage 2, 2, 2 (2, 2, 2, 2)" in network
    assert "epochs 50 (100), batch size 50 (128) for undefended, SELENA" in training and "MemGuard" not in training
    assert "teachers 10 (25), teachers that never see a member 4 (10) for SELENA; alpha 0.3 (0.05)" in training
    assert "channels 16 (128)" in diffusion and "noise steps learnt 1 to 300 (all)" in diffusion


def test_other_networks_and_recipes_are_those_that_an_item_trains():
    densenet, vgg, vit, *_ = settings.departures(ITEMS["figure12"], of("digits"))
    assert "growth rate 16 (32)" in densenet and "32, 32; 64, 64; 128, 128 (64, 64;" in vgg and "layers 4 (12)" in vit
    _, training, _ = settings.departures(ITEMS["table4"], of("digits"))
    assert "milestones 12, 18, 30 (60, 90, 150) for original/hamp" in training
    assert "teachers 10 (25), teachers that never see a member 4 (10) for original/selena;" in training


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_the_papers_datasets_have_nothing_to_say(name):
    assert not [sentence for item in ITEMS.values() for sentence in settings.departures(item, of(name))]


def counted(members, non_members, *, most=1000):
    """A bench whose partition has so many members, and so many non-members."""
    none = np.arange(0)
    partition = Partition(np.arange(members), none, none, np.arange(non_members), key="", permutation=None)
    config = SimpleNamespace(num_sample=most, boundary=SimpleNamespace(samples=50))
    return SimpleNamespace(name="digits", experiment=SimpleNamespace(partition=partition, evaluation_config=config))


def test_pages_count_the_samples_that_something_is_judged_on():
    digits = counted(400, 997)
    assert words.members(digits).startswith("digits has 400 members (the paper: 25,000")
    assert "scored on 200 of them and 499 non-members (the paper: 2,000" in words.scored(digits)
    published = words.scored_as_published(digits)
    assert "on 200 of them and 499 non-members. As" in published and "on the 200 and 498 that tune" in published
    assert "is of 200 of them and 499 non-members" in words.shown(digits) and "scored" not in words.shown(digits)
    assert "answers to 499 non-members" in figure6.answered(digits) and "tune" not in figure6.answered(digits)
    assert "the boundary on 50 and as many" in table6.counts(digits)
    assert "on 997 non-members in the first table and on 499 in the second" in table3.counts(digits)
    assert "scored on 200 members and 499 non-members. Test" in table3.counts(digits)
    assert "on the 1,000 and 1,000 that tune" in words.scored_as_published(counted(25_000, 10_000))
    for name in ("figure1", "table5", "table8"):
        assert ITEMS[name].counts is words.members
