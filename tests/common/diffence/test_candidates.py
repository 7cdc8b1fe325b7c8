"""The lazy engine alone: a formula in place of diffusion model and classifier."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.diffence import EVERYWHERE, Candidates, Interval, answer, candidates, phi, rule
from common.diffence.candidates import NOTHING, blank, complete
from common.diffence.rule import settled
from common.runtime.device import PassSize
from tests.common.diffence.slow import whole
from tests.common.formula import wave

N, K, IMAGES = 5, 3, 12
LOGITS = (2 * wave("logits", (IMAGES, N + 1, K), 2)).float()
INTERVALS = (EVERYWHERE, Interval(-0.4, 0.1), Interval(0.2, 0.2), Interval(90.0, 90.0))


class Reconstruct:
    """Answers from the table above and keeps a list of what it was asked."""

    def __init__(self):
        self.passes = []

    def __call__(self, rows, places):
        self.passes.append(list(zip(rows, places, strict=True)))
        return LOGITS[rows, places]

    @property
    def asked(self):
        return [draw for each in self.passes for draw in each]


def raw_only(n=IMAGES):
    logits = torch.zeros(n, N + 1, K)
    logits[:, -1] = LOGITS[:n, -1]
    return Candidates(logits, torch.zeros(n, dtype=torch.int64))


def run(until, *, size=(1, 1), known=None, tick=lambda count: None):
    """The candidates, and the reconstructions that were made for them."""
    reconstruct = Reconstruct()
    known = raw_only() if known is None else known
    return complete(known, reconstruct, until=until, size=PassSize(*size), tick=tick), reconstruct


def first_accepted(row, until):
    """How many reconstructions one image needs, one at a time."""
    for place, z in enumerate(row[:-1]):
        if z.argmax() == row[-1].argmax() and until.lo <= phi(z) <= until.hi:
            return place + 1
    return N


def assert_of_the_table(found):
    """Everything that is there is the table's, and the phi that came with it is its phi."""
    there = torch.arange(N) < found.drawn[:, None]
    assert torch.equal(found.logits[:, :-1][there], LOGITS[:, :-1][there])
    assert torch.equal(found.logits[:, -1], LOGITS[:, -1])
    assert torch.equal(found.phi[:, :-1][there], phi(LOGITS[:, :-1][there]))


@pytest.mark.parametrize("until", INTERVALS)
def test_one_at_a_time_no_candidate_is_drawn_after_the_accepted_one(until):
    found, made = run(until)
    assert found.drawn.tolist() == [first_accepted(row, until) for row in LOGITS]
    assert sorted(made.asked) == [(row, place) for row in range(IMAGES) for place in range(found.drawn[row])]
    assert len(made.asked) == rule.reconstructions_needed(whole(LOGITS), until).sum()


@given(st.sampled_from([None, *INTERVALS]), st.integers(1, 5), st.integers(1, 9))
def test_whatever_the_passes_the_answers_are_those_of_all_candidates(until, least, times):
    found, made = run(until, size=(least, least * times))
    assert_of_the_table(found)
    assert sorted(made.asked) == [(row, place) for row in range(IMAGES) for place in range(found.drawn[row])]  # once
    for row in range(IMAGES):
        places = [place for image, place in made.asked if image == row]
        assert places == sorted(places)  # in order
    assert settled(found, until).all()
    for interval in INTERVALS if until is None else (until,):
        full = whole(LOGITS)
        assert torch.equal(answer(found, interval).logits, answer(full, interval).logits)


def test_room_beside_the_next_candidates_is_filled_by_the_ones_after_them():
    _, made = run(Interval(90.0, 90.0), size=(8, 8), known=raw_only(3))
    assert [len(each) for each in made.passes] == [8, 7]
    assert made.passes[0] == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2), (1, 2)]
    _, made = run(None, size=(4, 8))  # as many as wait, in fours, and never more than eight
    assert sum(len(each) for each in made.passes) == IMAGES * N and {len(each) for each in made.passes} == {4, 8}


@pytest.mark.parametrize("until", [None, *INTERVALS])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (4, 64)])
def test_phi_is_computed_once_for_each_candidate_that_is_drawn(monkeypatch, until, size):
    judged = []

    def counted(logits):
        judged.append(len(logits))
        return phi(logits)

    monkeypatch.setattr(candidates, "phi", counted)
    found, made = run(until, size=size)
    assert sum(judged) == len(made.asked) == found.drawn.sum()
    monkeypatch.setattr(rule, "phi", None)  # calling it would fail
    answer(found, EVERYWHERE if until is None else until)


def test_what_is_known_is_not_drawn_again():
    first, made = run(EVERYWHERE, size=(4, 4))
    again, none = run(EVERYWHERE, size=(4, 4), known=first)
    assert none.passes == [] and torch.equal(again.drawn, first.drawn)
    more, rest = run(None, size=(4, 4), known=first)
    assert sorted(made.asked + rest.asked) == [(row, place) for row in range(IMAGES) for place in range(N)]
    assert_of_the_table(more)


@pytest.mark.parametrize("left", [math.nan, math.inf, 0.0, 7.0])
def test_what_stands_in_places_not_drawn_is_not_looked_at(left):
    known, _ = run(Interval(-0.4, 0.1))
    undrawn = torch.arange(N + 1) >= known.drawn[:, None]
    undrawn[:, -1] = False
    logits = known.logits.masked_fill(undrawn[..., None], left)
    found, made = run(Interval(0.2, 0.2), known=Candidates(logits, known.drawn))
    expected, _ = run(Interval(0.2, 0.2), known=known)
    assert torch.equal(found.drawn, expected.drawn) and made.passes
    assert_of_the_table(found)


def test_what_was_known_stays_as_it_was():
    known = raw_only()
    run(None, known=known)
    assert not known.logits[:, :-1].any() and not known.drawn.any()


@pytest.mark.parametrize("until", [None, EVERYWHERE, Interval(-0.4, 0.1)])
def test_ticks_count_every_image_once(until):
    known, _ = run(Interval(0.2, 0.2))
    for start in (raw_only(), known):
        ticks = []
        run(until, size=(3, 6), known=start, tick=ticks.append)
        assert sum(ticks) == IMAGES


def test_of_blank_candidates_nothing_is_there():
    nothing = blank(2, count=N, num_classes=K)
    assert nothing.logits.shape == (2, N + 1, K) and nothing.logits.dtype == torch.float32
    assert nothing.drawn.tolist() == [NOTHING, NOTHING]
    assert not settled(nothing, None).any() and not settled(nothing, EVERYWHERE).any()


@pytest.mark.parametrize("until", INTERVALS)
def test_one_image_is_given_one_candidate_then_as_many_as_were_refused(until):
    """So that no more than twice what is needed is made, and what one pass finds ends the query."""
    for row in range(IMAGES):
        known = raw_only()[row : row + 1]
        table = Reconstruct()
        found = complete(
            known,
            lambda _, places, row=row, table=table: table([row] * len(places), places),
            until=until,
            size=PassSize(1, 16, ahead=True),
            tick=lambda count: None,
        )
        needed, made = first_accepted(LOGITS[row], until), len(table.asked)
        assert [len(each) for each in table.passes] == [1, 1, 2, 1][: len(table.passes)]  # of five, the last one left
        assert needed <= made <= max(1, 2 * (needed - 1)) and made == found.drawn.item()
