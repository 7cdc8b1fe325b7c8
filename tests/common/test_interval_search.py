import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common import diffence, interval_search


@settings(max_examples=200)
@given(
    arrays(np.float64, (4, 5), elements=st.sampled_from([-2.0, -0.5, 0.0, 0.25, 0.5, 1.0, 3.0, math.nan])),
    st.sampled_from([np.linspace(-1, 1, 5), np.linspace(-2, 3, 21), np.array([0.0, 0.5])]),
)
def test_the_answers_under_all_intervals_are_those_of_one_at_a_time(keepers, grid):
    """Ties, values on the grid's points, and candidates that do not keep the label (NaN); the raw one always does."""
    keepers[:, -1] = np.nan_to_num(keepers[:, -1], nan=0.7)
    blocks = list(interval_search.answers(keepers, grid))
    assert len(blocks) == len(grid) - 1
    for hi, block in zip(grid[1:], blocks, strict=True):
        for lo, row in zip(grid[grid < hi], block, strict=True):
            chosen = diffence._select(torch.from_numpy(keepers), diffence.Interval(lo, hi))
            assert row.tolist() == keepers[np.arange(4), chosen.numpy()].tolist()


@pytest.mark.parametrize("width", [0.0, 2.3e-16, 1e-14])
def test_ranges_too_narrow_for_bins_say_nothing(width):
    distances = interval_search.all_distances(np.ones((2, 1)), np.array([[1.0], [1.0 + width]]), np.array([0.0, 2.0]))
    assert (distances == math.inf).all()


def test_of_equally_good_intervals_the_one_with_the_least_ends_wins():
    """As in the published loop over lower ends and then upper ones; here every interval makes both kinds alike."""
    members = non_members = np.array([[0.0], [1.0], [2.0], [3.0]])
    assert interval_search.most_alike(members, non_members) == (0.0, pytest.approx(0.15))
