import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_1samp, ks_2samp, uniform
from sklearn.datasets import load_digits

from common.diffence import EVERYWHERE, Averaging, Candidates, Matching, answer, match, phi
from common.diffence.matching import moved_to
from common.diffence.measures import label_alone
from common.diffence.noise import ranks
from common.runtime import rng
from tests.common.diffence.slow import confident, known_samples, whole

QUARTERS = Matching(torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64), tolerance=0.25)


def ranked(rows, *rank):
    """Candidates with the given phi, the raw one last."""
    candidates = whole([[confident(value) for value in row] for row in rows])
    return Candidates(candidates.logits, candidates.drawn, torch.tensor(rank, dtype=torch.float64))


@pytest.mark.parametrize(
    ("phis", "rank", "answered"),
    [
        ([9.0, 3.5, 2.5, 2.0, 7.0], 0.5, 2.5),  # the first within 1 … 3 of the target 2, not the nearest
        ([9.0, 3.5, 8.0, 0.2, 2.0], 0.5, 3.5),  # none of them within: the nearest, and the raw one is no candidate
        ([9.0, 3.5, 8.0, 0.2, 7.0], 0.0, 0.2),
        ([9.0, 3.5, 8.0, 0.2, 7.0], 1.0, 3.5),
    ],
)
def test_the_answer_by_hand(phis, rank, answered):
    found = answer(ranked([phis], rank), QUARTERS)
    assert phi(found.logits).item() == pytest.approx(answered) and not found.raw.any()


def test_the_raw_answer_is_given_only_where_no_reconstruction_keeps_the_label():
    turned = torch.tensor([[confident(2.0, label=1), confident(3.0, label=1), confident(9.0)]])
    found = answer(Candidates(turned, torch.tensor([2]), torch.tensor([0.5], dtype=torch.float64)), QUARTERS)
    assert found.raw.all() and torch.equal(found.logits, turned[:, -1])


def test_the_window_is_the_target_and_as_much_of_the_distribution_on_each_side():
    candidates = ranked([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], 0.5, 0.1, 1.0)
    assert QUARTERS.window(candidates).tolist() == [[1.0, 3.0], [0.0, pytest.approx(1.4)], [3.0, 4.0]]
    assert QUARTERS.target(candidates.rank).tolist() == [2.0, pytest.approx(0.4), 4.0]


def test_answers_follow_the_distribution_whatever_the_images():
    """Of two kinds of image, one much surer than the other, whose candidates cover the distribution."""
    generator = np.random.default_rng(0)
    rule = Matching(torch.from_numpy(np.sort(generator.normal(3, 1, 500))), tolerance=0.02)
    answered = []
    for mean in (2.0, 4.0):
        phis = generator.normal(mean, 2, (400, 60))
        found = answer(ranked(phis.tolist(), *generator.random(400)), rule)
        answered.append(phi(found.logits).numpy())
    assert ks_2samp(*answered).pvalue > 0.05
    assert ks_2samp(answered[0], rule.phi).pvalue > 0.05


@settings(max_examples=200)
@given(
    arrays(np.float32, (3, 4), elements=st.floats(-30, 30, width=32)),
    arrays(np.float64, 3, elements=st.floats(-40, 40)),
)
def test_moving_the_top_keeps_the_label_and_the_other_logits(logits, wanted):
    z = torch.from_numpy(logits)
    found = moved_to(z, torch.from_numpy(wanted))
    assert torch.isfinite(found).all() and found.dtype == z.dtype
    assert torch.equal(found.argmax(dim=1), z.argmax(dim=1))
    assert ((found != z).sum(dim=1) <= 1).all()


def test_moved_logits_have_exactly_the_phi_that_is_wanted():
    z = torch.from_numpy(np.random.default_rng(1).normal(size=(50, 10)))
    wanted = torch.linspace(0, 12, 50, dtype=torch.float64)  # from 0 on the top is at least as great as all others
    torch.testing.assert_close(phi(moved_to(z, wanted)), wanted, rtol=1e-9, atol=1e-9)


def test_exact_answers_have_the_target_for_phi():
    rule = Matching(QUARTERS.phi, QUARTERS.tolerance, exact=True)
    found = answer(ranked([[9.0, 8.0, 5.0], [0.1, 0.2, 0.3]], 0.5, 0.75), rule)
    assert phi(found.logits).tolist() == pytest.approx([2.0, 3.0])


def test_what_is_matched_is_what_the_defender_knows():
    members, others = known_samples(0, gap=3), known_samples(1, gap=1)
    for scenario, known in (("members_and_non_members", others), ("members_only", members)):
        kept = known.phi[:, :-1][known.keeps[:, :-1]]
        found = match(members, others, scenario=scenario, tolerance=0.1)
        assert found.phi.tolist() == sorted(kept.tolist()) and found.tolerance == 0.1
    assert match(members, others, scenario="neither", tolerance=0.1) == EVERYWHERE


def test_targets_need_ranks():
    with pytest.raises(ValueError, match="ranks"):
        answer(whole([[confident(1.0), confident(2.0)]]), QUARTERS)


@pytest.mark.parametrize("noise", ["per_image", "shared"])
def test_ranks_are_even_and_the_same_in_any_company(noise):
    x = torch.from_numpy(load_digits().images).float()[:, None] / 16
    keys = [rng.sample_key(image) for image in x]
    found = ranks(x, keys, seed=5, noise=noise)
    assert ks_1samp(found, uniform.cdf).statistic < (0.04 if noise == "per_image" else 0.15)
    assert torch.equal(ranks(x[7:9], keys[7:9], seed=5, noise=noise), found[7:9])
    assert not torch.equal(ranks(x, keys, seed=6, noise=noise), found)


def test_shared_ranks_of_near_copies_are_close_and_others_are_not():
    x = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    keys = [bytes([place]) for place in range(50)]
    near = x.clone()
    near[:, :, 0, 0] += 1 / 255
    for noise, moved in (("shared", 0.01), ("per_image", 0.0)):
        before = ranks(x, keys, seed=1, noise=noise)
        assert ((ranks(near, keys, seed=1, noise=noise) - before).abs() <= moved).all()
    assert ranks(x, keys, seed=1, noise="shared").std() > 0.15


def test_the_average_is_that_of_the_probabilities():
    logits = torch.from_numpy(np.random.default_rng(3).normal(size=(6, 4, 3)))
    candidates = whole(logits)
    found = answer(candidates, Averaging())
    torch.testing.assert_close(found.logits.softmax(dim=1), logits[:, :3].softmax(dim=2).mean(dim=1))
    assert not found.raw.any()
    assert (found.logits.argmax(dim=1) != logits[:, -1].argmax(dim=1)).any()  # it may change the label
    with pytest.raises(ValueError, match="not drawn"):
        answer(Candidates(logits, torch.full((6,), 2)), Averaging())


@pytest.mark.parametrize(
    ("scenario", "expected"), [("members_and_non_members", 2.0), ("members_only", 6.0), ("neither", 3.0)]
)
def test_a_label_is_given_with_what_the_defender_knows(scenario, expected):
    members, non_members = ranked([[5.0, 6.0, 7.0]], 0.5), ranked([[1.0, 2.0, 9.0]], 0.5)
    rule = label_alone(members, non_members, scenario=scenario)
    asked = ranked([[8.0, -1.0, 4.0], [0.1, 0.2, 0.3]], 0.5, 0.5)
    found = answer(asked, rule)
    assert phi(found.logits).tolist() == pytest.approx([expected, expected])
    assert torch.equal(found.logits.argmax(dim=1), asked.logits[:, -1].argmax(dim=1))
