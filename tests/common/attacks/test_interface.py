import numpy as np
import pytest

from common.attacks.observations import Observations

LOGITS = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0], [4.0, 0.0]])
LABELS = np.array([0, 0, 0, 1])
MEMBER = np.array([True, True, False, False])
SHADOWS = np.arange(3 * 4 * 2, dtype=np.float64).reshape(3, 4, 2)  # S = 3, n = 4, Q = 2
IN_SHADOW = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0]], dtype=bool)


def one_query(logits=LOGITS, labels=LABELS, member=MEMBER):
    return Observations.of_images(logits, labels, member)


def two_queries(**changes):
    given = {
        "answers": np.stack([LOGITS, LOGITS + 1], axis=1),
        "labels": LABELS,
        "member": MEMBER,
        "queries": ("image", "image"),
        "shadow_phi": SHADOWS,
        "in_shadow": IN_SHADOW,
    }
    return Observations(**(given | changes))


def test_of_equal_logits_the_first_is_the_answer():
    assert one_query().correct.tolist() == [True, False, True, False]


def test_the_answers_to_the_images_are_logits_again():
    given = one_query()
    assert given.answers.shape == (4, 1, 2) and np.array_equal(given.logits, LOGITS) and len(given) == 4
    assert np.array_equal(two_queries().logits, LOGITS)


def test_a_part_keeps_all_that_belongs_to_a_sample_together():
    part = two_queries()[np.array([3, 1])]
    assert part.answers.tolist() == [[[4.0, 0.0], [5.0, 1.0]], [[0.0, 3.0], [1.0, 4.0]]]
    assert part.labels.tolist() == [1, 0] and part.member.tolist() == [False, True]
    assert np.array_equal(part.shadow_phi, SHADOWS[:, [3, 1]])
    assert part.in_shadow.tolist() == [[False, False], [True, True], [False, True]]


def test_joined_samples_stand_one_after_the_other():
    both = two_queries()[np.array([0, 2])].joined(two_queries()[np.array([1, 3])])
    order = [0, 2, 1, 3]
    assert np.array_equal(both.logits, LOGITS[order]) and both.labels.tolist() == LABELS[order].tolist()
    assert np.array_equal(both.shadow_phi, SHADOWS[:, order])
    assert np.array_equal(both.in_shadow, IN_SHADOW[:, order])
    with pytest.raises(ValueError, match="other queries"):
        one_query().joined(two_queries())


def test_membership_can_be_unknown_and_is_then_not_given():
    unknown = one_query(member=None)
    assert unknown[np.array([1])].member is None and unknown.joined(one_query()).member is None
    with pytest.raises(ValueError, match="who is a member is not known"):
        _ = unknown.membership
    assert np.array_equal(one_query().membership, MEMBER)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(value):
    logits = LOGITS.copy()
    logits[1, 0] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        one_query(logits)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_that_are_no_class_are_refused(label):
    with pytest.raises(ValueError, match="labels outside 0 … 1"):
        one_query(labels=np.array([0, 0, 0, label]))


@pytest.mark.parametrize("member", [[True] * 4, [False] * 4])
def test_one_kind_alone_is_refused(member):
    with pytest.raises(ValueError, match="members and non-members"):
        one_query(member=np.array(member))


def test_a_part_of_one_kind_is_refused_too():
    with pytest.raises(ValueError, match="members and non-members"):
        one_query()[MEMBER]


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"labels: expected whole numbers \[4\], found int64 \(3,\)"):
        one_query(labels=LABELS[:3])
    with pytest.raises(ValueError, match=r"member: expected bool \[4\], found bool \(3,\)"):
        one_query(member=MEMBER[:3])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"queries": ("image",)}, "to 1 queries a sample"),
        ({"answers": LOGITS}, r"answers: expected floating logits \[n, Q, K\], found float64 \(4, 2\)"),
        ({"in_shadow": None}, "both their answers and which samples"),
        ({"shadow_phi": None}, "both their answers and which samples"),
        ({"shadow_phi": SHADOWS[:, :3]}, r"shadow_phi: expected numbers \[3, 4, 2\], found float64 \(3, 3, 2\)"),
        ({"shadow_phi": SHADOWS * np.nan}, "shadow_phi: NaN or infinite"),
        ({"in_shadow": IN_SHADOW[:2]}, r"in_shadow: expected bool \[3, 4\], found bool \(2, 4\)"),
    ],
)
def test_observations_that_do_not_fit_together_are_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        two_queries(**changes)
