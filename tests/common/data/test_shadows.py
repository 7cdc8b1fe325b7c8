from dataclasses import replace

import numpy as np
import pytest

from common.data import shadows
from common.data.partition import Partition, Permutation
from common.data.shadows import NONE, TARGET
from common.runtime.errors import UserError

N = 48  # members, and as many others
LABELS = np.arange(200) % 7


def partition(*, members=N, others=N, seed=0):
    order = np.random.default_rng(seed).permutation(200)
    mine, theirs = order[:members], order[members : members + others]
    return Partition(
        mine, theirs[:10], theirs[10:], np.arange(60), f"key {seed}", Permutation("toy", order, "seed", None)
    )


def pool(each):
    return np.concatenate([each.members, each.validation, each.reference])


@pytest.mark.parametrize("count", [0, 8])
def test_a_pair_of_models_shares_the_pool_out(count):
    whole = partition()
    among = shadows.canaries(whole, LABELS, count, num_classes=7)
    for pair in range(3):
        one, other = (shadows.partition_of(whole, 2 * pair + place, among) for place in (1, 2))
        assert set(one.members) == set(pool(whole)) - set(other.members)
        assert set(pool(one)) == set(pool(other)) == set(pool(whole)) and len(pool(one)) == 2 * N
        assert len(one.validation) == len(whole.validation) and one.key != other.key != whole.key
        assert np.array_equal(one.test_order, whole.test_order)


@pytest.mark.parametrize("count", [0, 8])
def test_half_of_every_role_is_in(count):
    """So each model's defender and each attacker know as many members as the target's do, but for canaries."""
    whole = partition()
    among = shadows.canaries(whole, LABELS, count, num_classes=7)
    roles = shadows.pool_roles(whole, 1000, among)
    assert sorted(np.concatenate(list(roles.values()))) == sorted(pool(whole))
    for number in range(5):
        model = shadows.partition_of(whole, number, among)
        for name in ("tuning", "attack_fit", "final_test"):
            assert np.isin(roles[name], model.members).sum() == len(roles[name]) / 2
        tuning = model.roles(1000)["tuning"].members  # what its own defence may tune on
        assert set(tuning) <= set(roles["tuning"]) | set(roles["attack_fit"])


def test_the_target_is_the_partition_itself_where_there_are_no_canaries():
    whole = partition()
    assert shadows.partition_of(whole, TARGET) is whole
    roles = shadows.pool_roles(whole, 5)
    for name, role in whole.roles(5).items():
        assert np.array_equal(roles[name][:5], role.members) and len(roles[name]) == 10
    assert len(roles["canaries"]) == 0


def test_models_differ_and_are_the_same_again():
    whole = partition()
    found = [shadows.partition_of(whole, number).members for number in (1, 3, 5)]
    assert len({tuple(sorted(members)) for members in found}) == 3
    assert np.array_equal(shadows.partition_of(partition(), 3).members, found[1])
    assert not np.array_equal(shadows.partition_of(partition(seed=1), 3).members, found[1])


def test_canaries_bear_wrong_labels_and_are_scored_samples():
    whole = partition()
    among = shadows.canaries(whole, LABELS, 8, num_classes=7)
    assert len(set(among.indices)) == 8 and (among.labels != LABELS[among.indices]).all()
    assert ((among.labels >= 0) & (among.labels < 7)).all()
    scored = shadows.pool_roles(whole, 1000)["final_test"]
    assert set(among.indices) <= set(scored) and np.isin(among.indices, whole.members).sum() == 4
    roles = shadows.pool_roles(whole, 1000, among)
    assert not set(among.indices) & set(roles["final_test"]) and np.array_equal(roles["canaries"], among.indices)


def test_each_canary_is_in_by_a_draw_of_its_own():
    """With probability 1/2 in target and shadow models, independently: counts are binomial, as their variance shows."""
    drawn = []
    for seed in range(300):
        whole = partition(seed=seed)
        among = shadows.canaries(whole, LABELS, 16, num_classes=7)
        drawn.append([np.isin(among.indices, shadows.partition_of(whole, n, among).members) for n in (TARGET, 1)])
    inside = np.array(drawn)  # [seeds, 2, 16]
    assert abs(inside.mean() - 0.5) < 0.02
    assert abs(inside.sum(axis=2).var(axis=0) - 4).max() < 1.2  # 16 / 4; without replacement it would be about half
    assert abs(np.corrcoef(inside[:, 0].ravel(), inside[:, 1].ravel())[0, 1]) < 0.06


def test_what_cannot_be_is_refused():
    whole = partition()
    for count in (7, 26, -2):
        with pytest.raises(UserError, match=f"--canaries {count}: an even number, at most 24"):
            shadows.canaries(whole, LABELS, count, num_classes=7)
    with pytest.raises(UserError, match="halves of 48 members and 40 reference samples"):
        shadows.partition_of(partition(others=40), 1)
    assert len(shadows.canaries(whole, LABELS, 0, num_classes=7).indices) == len(NONE.indices) == 0
    assert replace(whole).key == whole.key
