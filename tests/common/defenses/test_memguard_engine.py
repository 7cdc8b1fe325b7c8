import copy
import math

import pytest
import torch

from common.defenses.memguard_engine import Compact, Place, Walk, unit
from tests.common.defenses import generator
from tests.common.defenses.guesses import sorted_logits, trained_guess


@pytest.fixture(scope="module")
def guess():
    return trained_guess(4)


def test_the_compact_guess_is_the_guess(guess):
    exact = copy.deepcopy(guess).double()  # in which no ReLU is in doubt
    z = torch.cat([sorted_logits(200, scale=scale) for scale in (0.1, 2.0, 20.0)]).double()
    z = z.gather(1, torch.rand(z.shape, generator=generator()).argsort(dim=1))  # the order does not matter
    p = z.softmax(dim=1).requires_grad_(True)
    d = exact.layers(p.sort(dim=1, descending=True).values)[:, 0]
    own, slope = Compact(exact)(p.detach())
    torch.testing.assert_close(own, d)
    torch.testing.assert_close(slope, torch.autograd.grad(d.sum(), p)[0])
    assert len(Compact(guess).layers[0][0]) < 200  # of 256 units


def test_a_place_is_what_follows_from_the_logits(guess):
    z, ask = sorted_logits(20), Compact(guess)
    z = torch.cat([z, z.flip(1)])  # the label's logit is the first: it leads, or is behind all others
    here = Place.at(z, ask)
    d, slope = ask(here.p)
    assert torch.equal(here.z, z) and torch.equal(here.d, d) and torch.equal(here.slope, slope)
    for row, p, lead in zip(z.double().tolist(), here.p, here.lead, strict=True):
        total = math.fsum(map(math.exp, row))
        assert p.tolist() == pytest.approx([math.exp(value) / total for value in row], rel=1e-5)
        assert lead.item() == pytest.approx(row[0] - max(row[1:]), rel=1e-5)


def test_a_walk_starts_where_its_samples_are(guess):
    z = sorted_logits(20)
    walk = Walk.start(z, Compact(guess), c3=0.5)
    assert walk.rows.tolist() == list(range(20)) and walk.steps.tolist() == [0] * 20
    assert torch.equal(walk.z, z) and torch.equal(walk.origin, z)
    assert walk.z.data_ptr() != z.data_ptr()  # it is moved in place
    torch.testing.assert_close(walk.p, z.softmax(dim=1))
    assert torch.equal(walk.member, guess(z) > 0) and 0 < int(walk.member.sum()) < 20
    assert walk.c3.tolist() == [0.5] * 20


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
def test_a_vector_keeps_its_direction_at_length_1_however_short_or_long_it_is(scale):
    vectors = torch.tensor([[3.0, 4.0], [-1.0, 0.0], [5.0, -12.0]])
    expected = torch.tensor([[0.6, 0.8], [-1.0, 0.0], [5 / 13, -12 / 13]])
    torch.testing.assert_close(unit(scale * vectors), expected)
    assert unit(torch.zeros(2, 3)).tolist() == [[0, 0, 0]] * 2
