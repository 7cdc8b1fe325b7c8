import numpy as np
import pytest

from common.attacks.answers import Answers

LOGITS = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0], [4.0, 0.0]])
LABELS = np.array([0, 0, 0, 1])
MEMBER = np.array([True, True, False, False])


def test_of_equal_logits_the_first_is_the_answer():
    assert Answers(LOGITS, LABELS, MEMBER).correct.tolist() == [True, False, True, False]


def test_a_part_keeps_logits_labels_and_membership_together():
    part = Answers(LOGITS, LABELS, MEMBER)[np.array([3, 1])]
    assert len(part) == 2
    assert part.logits.tolist() == [[4.0, 0.0], [0.0, 3.0]]
    assert part.labels.tolist() == [1, 0]
    assert part.member.tolist() == [False, True]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(value):
    logits = LOGITS.copy()
    logits[1, 0] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        Answers(logits, LABELS, MEMBER)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_that_are_no_class_are_refused(label):
    with pytest.raises(ValueError, match="labels outside 0 … 1"):
        Answers(LOGITS, np.array([0, 0, 0, label]), MEMBER)


@pytest.mark.parametrize("member", [[True] * 4, [False] * 4])
def test_one_kind_alone_is_refused(member):
    with pytest.raises(ValueError, match="members and non-members"):
        Answers(LOGITS, LABELS, np.array(member))


def test_a_part_of_one_kind_is_refused_too():
    with pytest.raises(ValueError, match="members and non-members"):
        Answers(LOGITS, LABELS, MEMBER)[MEMBER]


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"labels \(3,\)"):
        Answers(LOGITS, LABELS[:3], MEMBER)
    with pytest.raises(ValueError, match=r"member \(3,\)"):
        Answers(LOGITS, LABELS, MEMBER[:3])


def test_membership_as_numbers_is_refused():
    with pytest.raises(ValueError):
        Answers(LOGITS, LABELS, MEMBER.astype(np.int64))
