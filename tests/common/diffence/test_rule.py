import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.diffence import EVERYWHERE, Candidates, Interval, answer, phi, rule
from tests.common.diffence.slow import chosen_by, confident, plain_select, slow_select, whole


@given(arrays(np.float64, (4, 5), elements=st.floats(-5, 5)))
def test_phi_is_the_logit_of_the_top_probability(logits):
    top = np.exp(logits).max(axis=1) / np.exp(logits).sum(axis=1)
    expected = np.log(top) - np.log(1 - top)
    np.testing.assert_allclose(phi(torch.from_numpy(logits)), expected, rtol=1e-9, atol=1e-9)


def test_phi_stays_exact_where_the_top_probability_rounds_to_one():
    logits = torch.tensor([[200.0, 0.0, 0.0], [1e5, 0.0, -1e5], [3e38, -3e38, -3e38]])
    expected = [200 - math.log(2), 1e5, 2 * float(logits[2, 0]) - math.log(2)]
    np.testing.assert_allclose(phi(logits), expected, rtol=1e-12)
    assert phi(logits).dtype == torch.float64


def test_phi_of_a_tie_counts_the_other_as_an_opponent():
    np.testing.assert_allclose(phi(torch.tensor([[1.0, 1.0], [0.0, 0.0]])), 0, atol=1e-15)
    np.testing.assert_allclose(phi(torch.zeros(2, 3, 4)), np.full((2, 3), -math.log(3)))


@st.composite
def hostile_candidates(draw):
    """Logits [B, N + 1, K] full of ties, and an interval: everywhere, at the values of phi, or past all of them."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 4)))
    logits = torch.from_numpy(draw(arrays(np.float32, shape, elements=st.sampled_from([-2, 0, 1, 1.5, 40]))))
    values = [value for value in phi(logits).flatten().tolist() if math.isfinite(value)]
    ends = st.sampled_from([*values, -100.0, 0.3, 100.0])
    return logits, draw(st.just(EVERYWHERE) | st.builds(lambda a, b: Interval(*sorted((a, b))), ends, ends))


@settings(max_examples=300)
@given(hostile_candidates())
def test_select_takes_the_candidate_that_a_plain_loop_takes(case):
    logits, interval = case
    assert chosen_by(whole(logits), interval).tolist() == [slow_select(each, interval) for each in logits]


@settings(max_examples=300)
@given(hostile_candidates())
def test_select_never_changes_the_argmax(case):
    logits, interval = case
    answered = answer(whole(logits), interval).logits
    assert torch.equal(answered.argmax(dim=1), logits[:, -1].argmax(dim=1))


@pytest.mark.parametrize(
    ("phis", "interval", "chosen"),
    [
        ([9.0, 2.0, 3.0, 1.0], Interval(2.0, 3.0), 1),  # the first inside, not the nearest to the middle
        ([9.0, 5.0, 8.0, 1.0], Interval(2.0, 3.0), 3),  # none inside: the raw one is nearest
        ([9.0, 4.0, 8.0, 0.5], Interval(2.0, 3.0), 1),  # none inside: a reconstruction is nearest
        ([9.0, 4.0, 1.0, 9.0], Interval(2.0, 3.0), 1),  # equally near: the first
        ([9.0, 4.0, 1.0, 7.0], EVERYWHERE, 0),
    ],
)
def test_select_by_hand(phis, interval, chosen):
    assert chosen_by(whole([[confident(value) for value in phis]]), interval).tolist() == [chosen]


def test_candidates_that_change_the_label_are_passed_over_and_the_raw_answer_is_the_last_resort():
    turned = [confident(2.5, label=1)] * 3
    for interval in (Interval(2.0, 3.0), EVERYWHERE):
        assert chosen_by(whole([[*turned, confident(9.0)]]), interval).tolist() == [3]
        assert chosen_by(whole([[*turned, confident(2.1), confident(9.0)]]), interval).tolist() == [3]


@settings(max_examples=200)
@given(
    arrays(np.float64, (4, 5), elements=st.sampled_from([-2.0, -0.5, 0.0, 0.25, 0.5, 1.0, 3.0, math.nan])),
    st.lists(st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]), min_size=2, max_size=2, unique=True).map(sorted),
)
def test_the_choice_from_phi_alone_is_that_of_a_plain_loop(values, ends):
    """Ties, values on the interval's ends, and candidates that do not keep the label (NaN); the raw one always does."""
    values[:, -1] = np.nan_to_num(values[:, -1], nan=0.7)
    keeps = ~np.isnan(values)
    for filled in (values, np.where(keeps, values, 0.25)):  # what stands where no label is kept is not looked at
        chosen = Interval(*ends).choose(torch.from_numpy(filled), torch.from_numpy(keeps))
        expected = [plain_select(row[kept].tolist(), *ends) for row, kept in zip(values, keeps, strict=True)]
        assert values[np.arange(4), chosen.numpy()].tolist() == expected


def test_an_interval_that_is_none_is_refused_by_the_selection_too():
    for interval in (Interval(math.nan, math.nan), Interval(2.0, 1.0), Interval(0.0, math.inf)):
        with pytest.raises(ValueError, match="interval"):
            answer(whole(torch.zeros(1, 2, 2)), interval)


def test_a_choice_that_hangs_on_candidates_not_drawn_is_refused():
    for left in ([0.0, 0.0], [1.5, 0.0], [math.nan, math.nan]):  # whatever stands in the place of the second
        candidates = Candidates(torch.tensor([[[5.0, 0.0], left, [1.0, 0.0]]]), torch.tensor([1]))
        assert chosen_by(candidates, Interval(4.0, 6.0)).tolist() == [0]
        with pytest.raises(ValueError, match="not drawn"):
            answer(candidates, Interval(0.5, 2.0))  # the raw one is inside, but the second may be too


def choice(candidates, interval):
    try:
        answer(candidates, interval)
        return chosen_by(candidates, interval).tolist()
    except ValueError as error:
        return str(error)


@st.composite
def partly_drawn(draw):
    """Hostile candidates, how many are drawn, and what stands in the places after them."""
    logits, interval = draw(hostile_candidates())
    drawn = draw(arrays(np.int64, len(logits), elements=st.integers(0, logits.shape[1] - 1)))
    left = draw(
        arrays(np.float32, tuple(logits.shape), elements=st.sampled_from([-2, 0, 1, 1.5, 40, math.nan, math.inf]))
    )
    return logits, interval, torch.from_numpy(drawn), torch.from_numpy(left)


@settings(max_examples=300)
@given(partly_drawn())
def test_whatever_stands_in_undrawn_places_changes_nothing(case):
    """Where an accepted one was drawn it answers as if all were there; else the choice is refused."""
    logits, interval, drawn, left = case
    there = torch.arange(logits.shape[1]) < drawn[:, None]
    there[:, -1] = True
    candidates = Candidates(logits.where(there[..., None], left), drawn)
    assert torch.equal(candidates.keeps, there & (logits.argmax(dim=2) == logits[:, -1:].argmax(dim=2)))
    accepted = [
        [z.argmax() == row[-1].argmax() and interval.lo <= phi(z) <= interval.hi for z in row[:count]]
        for row, count in zip(logits, drawn.tolist(), strict=True)
    ]
    assert rule.accepted(candidates, interval).any(dim=1).tolist() == [any(row) for row in accepted]
    needed = [row.index(True) + 1 if any(row) else logits.shape[1] - 1 for row in accepted]
    assert rule.reconstructions_needed(candidates, interval).tolist() == needed
    if all(any(row) or len(row) == logits.shape[1] - 1 for row in accepted):
        assert choice(candidates, interval) == [slow_select(row, interval) for row in logits]
    else:
        assert "not drawn" in choice(candidates, interval)


def test_candidates_are_cut_and_put_together_with_their_numbers_drawn():
    logits, drawn = torch.arange(24.0).reshape(4, 3, 2), torch.tensor([2, 0, 1, -1])
    candidates = Candidates(logits, drawn)
    assert len(candidates) == 4 and candidates.count == 2
    for rows in (slice(1, 3), torch.tensor([3, 0, 0]), torch.tensor([True, False, False, True])):
        part = candidates[rows]
        assert torch.equal(part.logits, logits[rows]) and torch.equal(part.drawn, drawn[rows])
        assert torch.equal(part.phi, candidates.phi[rows]) and torch.equal(part.keeps, candidates.keeps[rows])
    again = Candidates.cat(iter([candidates[:1], candidates[1:]]))
    assert torch.equal(again.logits, logits) and torch.equal(again.drawn, drawn)


def test_phi_that_is_known_is_not_computed_again(monkeypatch):
    logits = torch.tensor([[confident(2.0), confident(9.0), confident(1.0)]])
    known = phi(logits)
    monkeypatch.setattr(rule, "phi", None)  # calling it would fail
    candidates = Candidates(logits, torch.tensor([2])).judged(known)
    assert candidates.phi is known
    assert chosen_by(candidates, Interval(8.0, 10.0)).tolist() == [1]
