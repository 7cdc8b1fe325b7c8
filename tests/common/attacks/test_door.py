"""Whatever type arrays come in, the attacks give the same numbers, or the arrays are refused by name."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.attacks import ATTACKS, suite
from common.attacks.door import answers_in, labels_in, members_in
from common.attacks.interface import Fitting, Needs
from common.attacks.observations import Observations
from common.runtime.errors import UserError
from tests.common.formula import wave

LOGITS = np.round(np.asarray(wave("door", (40, 3), 2)), 1)  # which float16 cannot hold, so it is rounded first
LOGITS = LOGITS.astype(np.float16).astype(np.float64)
LABELS, MEMBER = np.arange(40) % 3, np.arange(40) % 2 == 0
QUICK = [attack for attack in ATTACKS.values() if not attack.learns and attack.needs == Needs()]


def scores(logits, labels, member):
    observations = Observations.of_images(logits, labels, member)
    result = suite.run(QUICK, observations, observations, Fitting(None, 0))
    assert not result.not_run
    return {name: scored.scores for name, scored in result.scored.items()}


EXPECTED = scores(LOGITS, LABELS, MEMBER)


@pytest.mark.parametrize("logits", [np.float16, np.float32, np.float64, np.longdouble, torch.tensor, np.ndarray.tolist])
@pytest.mark.parametrize(
    "labels", [np.int8, np.uint8, np.int32, np.uint64, np.float32, torch.tensor, np.ndarray.tolist]
)
@pytest.mark.parametrize("member", [np.bool_, np.int8, np.uint64, np.float64, torch.tensor, np.ndarray.tolist])
def test_the_same_values_in_another_type_give_the_same_numbers(logits, labels, member):
    found = scores(logits(LOGITS), labels(LABELS), member(MEMBER))
    assert found.keys() == EXPECTED.keys()
    for name, values in found.items():
        assert np.array_equal(values, EXPECTED[name]), name


@pytest.mark.parametrize(
    ("logits", "complaint"),
    [
        (LOGITS.astype(np.int64), "logits: expected floating logits .*, found int64"),
        (LOGITS.astype(complex), "found complex128"),
        (LOGITS.astype(object), "found object"),
        (LOGITS > 0, "found bool"),
        (LOGITS[:, :1], "logits of 1 class"),
        (LOGITS[:, 0], r"found float64 \(40,\)"),
        (np.where(LOGITS > 0, math.nan, LOGITS), "NaN or infinite"),
        (np.full((40, 3), np.longdouble("1e4000")), "NaN or infinite"),
        ([[1.0], [1.0, 2.0]], "no array"),
        (torch.zeros(40, 3, requires_grad=True), "no array"),
        ("text", "expected floating logits"),
        (None, "expected floating logits"),
    ],
)
def test_other_logits_are_refused(logits, complaint):
    with pytest.raises(ValueError, match=complaint):
        Observations.of_images(logits, LABELS, MEMBER)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (LABELS + 0.5, "found fractions"),
        (np.where(LABELS == 1, math.nan, LABELS), "found fractions, NaN"),
        (LABELS == 1, "labels: expected whole numbers .*, found bool"),
        (LABELS.astype(str), "labels: expected whole numbers"),
        (np.eye(3)[LABELS], r"found float64 \(40, 3\)"),
        (LABELS + 2**40, "labels outside 0 … 2"),
        (LABELS.astype(np.uint64) + np.uint64(2**63), "labels outside 0 … 2"),
        (LABELS - 1, "labels outside 0 … 2"),
    ],
)
def test_other_labels_are_refused(labels, complaint):
    with pytest.raises(ValueError, match=complaint):
        Observations.of_images(LOGITS, labels, MEMBER)


@pytest.mark.parametrize(
    ("member", "complaint"),
    [
        (MEMBER * 2, "member: expected bool, or 0 and 1"),
        (MEMBER - 0.5, "member: expected bool, or 0 and 1"),
        (np.where(MEMBER, math.nan, 0), "member: expected bool, or 0 and 1"),
        (MEMBER.astype(str), "member: expected bool"),
        (np.where(MEMBER, "member", "non-member"), "member: expected bool"),
        (MEMBER[:, None], r"found bool \(40, 1\)"),
    ],
)
def test_other_membership_is_refused(member, complaint):
    with pytest.raises(ValueError, match=complaint):
        Observations.of_images(LOGITS, LABELS, member)


ANYTHING = hnp.arrays(
    st.one_of(hnp.boolean_dtypes(), hnp.integer_dtypes(), hnp.floating_dtypes(), hnp.complex_number_dtypes()),
    hnp.array_shapes(max_dims=3, max_side=4),
)


@given(ANYTHING)
def test_any_array_is_taken_with_the_values_that_it_has_or_refused(array):
    doors = (
        lambda: answers_in(array, name="answers", shape="[n, K]"),
        lambda: labels_in(array, count=len(array), num_classes=2**40),
        lambda: members_in(array, shape=array.shape),
    )
    for door in doors:
        try:
            taken = door()
        except ValueError as error:
            assert not isinstance(error, UserError) and str(error)
        else:
            assert np.array_equal(taken.astype(array.dtype), array)
