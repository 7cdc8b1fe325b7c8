import numpy as np
import pytest
import torch

from common.attacks.observations import Observations
from common.diffence import EVERYWHERE, Candidates, Interval, answer, phi
from common.evaluation.answers import Answered, RoleCandidates
from tests.common.evaluation.population import PARTITION, POPULATION, TEST, TRAIN, K, fenced, role


@pytest.fixture
def population(tmp_path):
    return fenced(tmp_path / "bank")


def test_a_roles_candidates_are_in_its_own_order_members_first(population):
    wanted = role(slice(5, 21), slice(0, 30))
    found = population.draw(wanted, until=None, desc="")
    parts = (TRAIN, wanted.members), (TEST, wanted.non_members)
    images = torch.cat([part.images[indices].float() / 255 for part, indices in parts])
    assert torch.equal(found.candidates.logits, population.bank.fence.candidates(images).logits)
    assert found.labels.tolist() == [index % K for index in (*wanted.members, *wanted.non_members)]
    assert found.member.tolist() == [True] * 16 + [False] * 30
    assert found.counts == {"members": 16, "non_members": 30}


def test_a_roles_parts_stand_where_the_partitions_lists_have_them():
    """Roles are read off the lists, so a sample has the same file in every role."""
    wanted = role(slice(5, 9), slice(20, 30))
    members, test = POPULATION.parts(wanted)
    assert (members.name, members.length, members.places.tolist()) == ("members", 40, [5, 6, 7, 8])
    assert (test.name, test.length, test.places.tolist()) == ("test", 30, list(range(20, 30)))
    assert torch.equal(members.images, TRAIN.images[PARTITION.members[5:9]])
    assert torch.equal(test.images, TEST.images[PARTITION.test_order[20:30]])
    assert POPULATION.labels(wanted).dtype == np.int64


def test_lazily_drawn_roles_answer_as_full_ones(population, tmp_path):
    wanted, interval = role(slice(3, 33), slice(2, 28)), Interval(0.2, 1.5)
    lazy = population.draw(wanted, until=interval, desc="")
    full = fenced(tmp_path / "other", group_size=5).draw(wanted, until=None, desc="")
    assert (lazy.candidates.drawn < 3).any()
    for ends in (interval, None):
        ours, theirs = lazy.answered(ends), full.answered(ends)
        assert np.array_equal(ours.observations.answers, theirs.observations.answers)
        assert np.array_equal(ours.phi, theirs.phi) and np.array_equal(ours.raw, theirs.raw)
        assert ours.raw_answer_rate == theirs.raw_answer_rate
    drawn = lazy.candidates.drawn.double().mean()  # one at a time in this test
    assert full.reconstructions_per_query(interval) == lazy.reconstructions_per_query(interval) == float(drawn)
    expected = answer(full.candidates, interval).logits
    assert np.array_equal(full.answered(interval).observations.logits, expected.double().numpy())


def hand_made():
    """Two members and a non-member; of each two reconstructions and the raw answer."""
    logits = torch.tensor(
        [
            [[3.0, 0.0], [1.0, 0.0], [4.0, 0.0]],
            [[0.0, 1.0], [0.0, 2.0], [5.0, 0.0]],  # both change the label
            [[0.0, 6.0], [0.0, 9.0], [0.0, 7.0]],
        ]
    )
    candidates = Candidates(logits, torch.full((3,), 2))
    return RoleCandidates(candidates, np.array([0, 1, 0]), np.array([True, True, False]))


def test_answers_by_hand():
    answered = hand_made().answered(Interval(0.5, 2.0))
    assert answered.observations.logits.tolist() == [[1.0, 0.0], [5.0, 0.0], [0.0, 6.0]]
    assert answered.phi.tolist() == pytest.approx([1.0, 5.0, 6.0])
    assert answered.raw.tolist() == [False, True, False]
    assert answered.raw_answer_rate == pytest.approx(1 / 3)
    assert answered.raw_labels.tolist() == [0, 0, 1] and answered.label_agreement == 1
    assert answered.accuracy == {"train": 0.5, "test": 0.0}
    assert answered.observations.membership.tolist() == [True, True, False]


def test_the_attacker_is_told_the_interval_whatever_else_is_asked():
    interval = Interval(0.5, 2.0)
    assert hand_made().answered(interval).observations.interval.tolist() == [[list(interval)]] * 3
    for passes in (None, EVERYWHERE):
        assert hand_made().answered(passes).observations.interval is None


def test_without_a_fence_all_answers_are_the_raw_ones_and_cost_nothing_more():
    role_candidates = hand_made()
    answered = role_candidates.answered(None)
    assert answered.observations.logits.tolist() == role_candidates.candidates.logits[:, -1].tolist()
    assert answered.phi.tolist() == phi(role_candidates.candidates.logits[:, -1]).tolist()
    assert answered.raw.all() and answered.raw_answer_rate == answered.label_agreement == 1
    assert role_candidates.reconstructions_per_query(EVERYWHERE) == pytest.approx((1 + 2 + 1) / 3)


def test_an_answer_of_another_label_than_the_raw_one_is_counted():
    observations = Observations.of_images(np.eye(2)[[0, 1, 1, 1]], np.array([0, 0, 1, 1]), np.arange(4) < 2)
    answered = Answered(observations, np.zeros(4), np.array([0, 0, 1, 1]), np.zeros(4, dtype=bool))
    assert answered.label_agreement == 0.75
