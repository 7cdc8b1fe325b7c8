import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.statistics.epsilon import ceiling, lower_bound, one_run_bound, one_run_p_value
from common.statistics.proportions import Point, clopper_pearson


def test_the_ceiling_in_closed_form():
    """No mistake among n: an upper end of 1 - 0.025^(1/n), a lower end of 0.025^(1/n)."""
    for n, shown in ((499, 4.9), (2000, 6.3)):
        end = 0.025 ** (1 / n)
        assert ceiling(n, n, delta=0) == pytest.approx(math.log(end / (1 - end)))
        assert round(ceiling(n, n, delta=0), 1) == shown


counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, counts)
def test_a_bound_is_below_the_ceiling_and_the_same_from_both_sides(hits, mistakes):
    """Calling members non-members and the other way round changes nothing."""
    point = Point(*hits, *mistakes)
    bound = lower_bound(point, delta=0)
    assert 0 <= bound <= ceiling(point.members, point.non_members, delta=0)
    turned = Point(point.non_members - point.false_positives, point.non_members,
                   point.members - point.true_positives, point.members)  # fmt: skip
    assert lower_bound(turned, delta=0) == pytest.approx(bound, abs=1e-12)
    assert lower_bound(point, delta=0.01) <= bound


def test_an_attack_that_guesses_proves_nothing():
    assert lower_bound(Point(50, 100, 50, 100), delta=0) == 0
    assert lower_bound(Point(0, 100, 100, 100), delta=0) == 0  # nor one that is always wrong: turn it round first


def test_a_bound_from_its_definition():
    point = Point(90, 100, 3, 200)
    least, most = clopper_pearson(90, 100)[0], clopper_pearson(3, 200)[1]
    expected = max(math.log((least - 0.01) / most), math.log((1 - most - 0.01) / (1 - least)))
    assert lower_bound(point, delta=0.01) == pytest.approx(expected)


def test_randomised_response_is_covered():
    """Of a mechanism that is exactly epsilon-private the bound exceeds epsilon in at most 5 % of cases."""
    generator, epsilon, n = np.random.default_rng(0), 1.0, 400
    honest = math.exp(epsilon) / (1 + math.exp(epsilon))
    hits, mistakes = generator.binomial(n, honest, 2000), generator.binomial(n, 1 - honest, 2000)
    found = [lower_bound(Point(a, n, b, n), delta=0) for a, b in zip(hits, mistakes, strict=True)]
    assert np.mean(np.array(found) > epsilon) <= 0.05
    assert np.mean(found) > 0.6  # and it is no empty bound


def test_all_right_in_closed_form():
    """q^r < 0.05 refutes epsilon = log(q / (1 - q)); the published toys."""
    for r, shown in ((100, 3.49), (1000, 5.81)):
        q = 0.05 ** (1 / r)
        found = one_run_bound(canaries=r, guesses=r, right=r, delta=0.0)
        assert found == pytest.approx(math.log(q / (1 - q))) and round(found, 2) == shown


def test_one_run_p_value_by_counting():
    """As the theorem has it, with sums over the binomial's probabilities."""
    epsilon, m, r, v, delta = 0.7, 30, 20, 16, 1e-3
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    p = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    more = max(sum(p[v - i : v]) / i for i in range(1, v + 1))
    assert one_run_p_value(epsilon, m, r, v, delta) == pytest.approx(sum(p[v:]) + 2 * m * delta * more)


@given(st.integers(1, 200), st.data())
def test_one_run_bounds_rise_with_what_was_right_and_fall_with_delta(guesses, data):
    right = data.draw(st.integers(0, guesses - 1))
    bounds = [one_run_bound(canaries=guesses, guesses=guesses, right=right + more, delta=0.0) for more in (0, 1)]
    assert bounds[0] <= bounds[1]
    assert one_run_bound(canaries=guesses, guesses=guesses, right=right, delta=1e-3) <= bounds[0]


def test_more_guesses_than_canaries_are_refused():
    with pytest.raises(ValueError, match="3 right ones of 2 guesses"):
        one_run_bound(canaries=5, guesses=2, right=3, delta=0.0)
