import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from common.statistics.proportions import Point, clopper_pearson, precision


@given(st.integers(1, 60), st.data())
def test_the_interval_is_where_the_tails_hold_a_fortieth(trials, data):
    """As defined: at the lower end as many or more come up in 2.5 % of cases, at the upper end as many or fewer."""
    successes = data.draw(st.integers(0, trials))
    low, high = clopper_pearson(successes, trials)
    assert low <= successes / trials <= high
    assert low == 0 if successes == 0 else binom.sf(successes - 1, trials, low) == pytest.approx(0.025, rel=1e-6)
    assert high == 1 if successes == trials else binom.cdf(successes, trials, high) == pytest.approx(0.025, rel=1e-6)


def test_none_of_499_is_at_most_seven_in_a_thousand():
    """1 - 0.025 ** (1 / n) in closed form."""
    assert clopper_pearson(0, 499)[1] == pytest.approx(1 - 0.025 ** (1 / 499))
    assert clopper_pearson(0, 499)[1] < 0.0074


def test_precision_by_counting():
    """Of 1,000 of whom 100 are members, an attack with TPR 0.5 and FPR 0.1 names 50 members and 90 others."""
    assert precision(0.5, 0.1, prior=0.1) == pytest.approx(50 / 140)
    assert precision(0.3, 0.3, prior=0.01) == pytest.approx(0.01)
    assert precision(0.0, 0.0, prior=0.5) is None and precision(0.2, 0.0, prior=0.01) == 1
    assert math.isclose(Point(2, 200, 0, 499).tpr, 0.01) and Point(2, 200, 5, 500).fpr == 0.01
