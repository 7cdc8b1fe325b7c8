import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from common.diffence import EVERYWHERE, Candidates, Interval, intervals, phi, tune_interval
from common.runtime.errors import UserError
from tests.common.diffence.slow import (
    confident,
    known_samples,
    plain_distance,
    plain_phi,
    plain_select,
    slow_select,
    whole,
)


def slow_distance(members, non_members):
    """scipy's Jensen-Shannon distance between histograms filled value by value; NaN where it says nothing."""
    lo, hi = min(non_members), max(non_members)
    edges = np.linspace(lo, hi, 101)
    counts = np.zeros((2, 100))
    for count, values in zip(counts, (members, non_members), strict=True):
        for value in values:
            if lo <= value <= hi:
                count[min(np.searchsorted(edges, value, side="right") - 1, 99)] += 1
    if lo == hi or counts[0].sum() == 0:
        return math.nan
    return jensenshannon(*np.maximum(counts, 1e-19))


@pytest.mark.parametrize("seed", range(3))
def test_with_both_known_it_is_the_interval_that_a_plain_loop_over_all_takes(seed):
    members, non_members = known_samples(seed, gap=2.5), known_samples(seed + 100, gap=1.0, n=15)

    def keeping(candidates):
        return [phi(z).item() for row in candidates.logits for z in row if z.argmax() == row[-1].argmax()]

    grid = np.linspace(min(keeping(members)), max(keeping(non_members)), 21)
    distances = {}
    for a in range(21):
        for b in range(a + 1, 21):
            interval = Interval(grid[a], grid[b])
            answered = [
                [phi(row[slow_select(row, interval)]).item() for row in known.logits]
                for known in (members, non_members)
            ]
            distances[interval] = slow_distance(*answered)
    best = min((d, i) for i, d in enumerate(distances.values()) if not math.isnan(d))[1]
    tuned = tune_interval(members, non_members, scenario="members_and_non_members")
    assert tuned == pytest.approx(list(distances)[best], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_with_both_known_it_is_the_direct_loop_in_plain_numbers(seed):
    """No function of the project's and none of scipy's: the interval to ten digits, and all 210 distances too."""
    known = [
        whole(known_samples(seed + first, gap=gap, n=40).logits.double()) for first, gap in ((50, 2.0), (150, 1.0))
    ]
    kept = []  # of both kinds, for each sample the phis of the candidates that keep its label
    for part in known:
        rows = [[list(map(float, z)) for z in sample] for sample in part.logits]
        kept.append([[plain_phi(z) for z in row if z.index(max(z)) == row[-1].index(max(row[-1]))] for row in rows])
    least, greatest = min(map(min, kept[0])), max(map(max, kept[1]))
    grid = [least + (greatest - least) * i / 20 for i in range(20)] + [greatest]  # the ends to the last bit
    distances = {}
    for a in range(21):
        for b in range(a + 1, 21):
            lo, hi = grid[a], grid[b]
            answered = [[plain_select(row, lo, hi) for row in part] for part in kept]
            distances[lo, hi] = plain_distance(*answered)
    said = {ends: distance for ends, distance in distances.items() if not math.isnan(distance)}
    tuned = tune_interval(*known, scenario="members_and_non_members")
    assert tuned == pytest.approx(min(said, key=said.get), abs=1e-10)
    found = own_distances(*known)
    assert len(found) == 210
    np.testing.assert_allclose(np.where(np.isinf(found), math.nan, found), [*distances.values()], rtol=0, atol=1e-10)


def own_distances(members, non_members):
    """What histograms and distance_of say of each interval of the grid, whose ends have the search's own bits."""
    ends = members.phi[members.keeps].min(), non_members.phi[non_members.keeps].max()
    grid = np.linspace(*map(float, ends), intervals.GRID_POINTS)
    both = Candidates.cat([members, non_members])
    rows = torch.arange(len(both))
    counts = [
        intervals.histograms(both.phi[rows, Interval(lo, hi).choose(both.phi, both.keeps)].numpy(), len(members))
        for place, lo in enumerate(grid)
        for hi in grid[place + 1 :]
    ]
    return intervals.distance_of(np.stack(counts))


@pytest.mark.parametrize("width", [0.0, 2.3e-16, 1e-14])
def test_ranges_too_narrow_for_bins_say_nothing(width):
    counts = intervals.histograms(np.array([1.0, 1.0, 1.0, 1.0 + width]), 2)
    assert counts.shape == (2, intervals.BINS) and not counts.any()
    assert intervals.distance_of(counts[None]).tolist() == [math.inf]


def test_of_equally_good_intervals_the_one_with_the_least_ends_wins():
    """As in the published loop over lower ends and then upper ones; here every interval makes both kinds alike."""
    known = whole([[confident(value)] for value in (0.0, 1.0, 2.0, 3.0)])
    assert intervals.most_alike(known, known) == (0.0, pytest.approx(0.15))


def test_known_samples_that_do_not_overlap_are_refused():
    members, non_members = known_samples(0, gap=500), known_samples(1, gap=1)
    with pytest.raises(
        UserError, match=r"do not overlap\. Give more known samples \(--num-sample\) or use --scenario 2"
    ):
        tune_interval(members, non_members, scenario="members_and_non_members")


@pytest.mark.parametrize("non_members", [[0.5, 0.8, 1.1, 1.5], [0.5, 0.5, 0.5, 0.5]])
def test_no_interval_is_preferred_whose_histograms_say_nothing(non_members):
    """No member falls among the non-members, or these are all alike: the published code's NaN, never a distance."""
    known, others = (whole([[confident(value)] for value in phis]) for phis in ([0.1, 9.0, 9.5, 8.0], non_members))
    with pytest.raises(UserError, match="no interval"):
        tune_interval(known, others, scenario="members_and_non_members")


def test_with_members_only_it_is_the_least_and_the_mean_phi_of_those_that_keep_their_label():
    members = whole(
        [
            [confident(4.0), confident(50.0, label=1), confident(2.0)],  # the second changes the label
            [confident(1.0, label=1), confident(12.0, label=1), confident(6.0, label=1)],
        ]
    )
    none = whole(torch.empty(0, 3, 2))
    assert tune_interval(members, none, scenario="members_only") == pytest.approx((1.0, 5.0))


def test_the_mean_of_equal_members_is_not_below_the_least():
    members = whole([[confident(-0.40899056005747336)]] * 3)
    lo, hi = tune_interval(members, members, scenario="members_only")
    assert lo <= hi == pytest.approx(lo)


@pytest.mark.parametrize("scenario", ["members_and_non_members", "members_only"])
def test_an_interval_is_not_tuned_on_candidates_that_were_not_drawn(scenario):
    members, others = known_samples(0, gap=2.5), known_samples(1, gap=1.0)
    members.drawn[3] = 1
    with pytest.raises(ValueError, match="not drawn"):
        tune_interval(members, others, scenario=scenario)


def test_non_members_that_were_not_all_drawn_are_refused_where_they_count():
    members, others = known_samples(0, gap=2.5), known_samples(1, gap=1.0)
    others.drawn[0] = -1
    with pytest.raises(ValueError, match="not drawn"):
        tune_interval(members, others, scenario="members_and_non_members")
    assert tune_interval(members, others, scenario="members_only").lo < math.inf


def test_with_neither_known_the_first_candidate_that_keeps_the_label_is_accepted():
    tuned = tune_interval(known_samples(0, gap=2), known_samples(1, gap=1), scenario="neither")
    assert tuned == EVERYWHERE
    candidates = whole([[confident(8.0, label=1), confident(-0.5), confident(3.0), confident(1.0, label=1)]])
    assert tuned.choose(candidates.phi, candidates.keeps).tolist() == [0]


@pytest.mark.parametrize("scenario", [1, "1", "both"])
def test_an_unknown_scenario_is_refused_with_the_names_there_are(scenario):
    known = known_samples(0, gap=1)
    with pytest.raises(ValueError, match="one of members_and_non_members, members_only, neither, not"):
        tune_interval(known, known, scenario=scenario)


def test_the_greatest_advantage_is_the_kolmogorov_smirnov_distance():
    generator = np.random.default_rng(0)
    answered = generator.normal(size=(20, 30)).round(1)  # with ties
    found = intervals.greatest_advantages(answered, 12)
    assert found == pytest.approx([ks_2samp(row[:12], row[12:]).statistic for row in answered])


def test_by_kolmogorov_smirnov_the_interval_is_the_best_of_a_plain_loop():
    members, others = known_samples(0, gap=3.0), known_samples(1, gap=1.0)
    kept = [known.phi[known.keeps] for known in (members, others)]
    grid = np.linspace(float(kept[0].min()), float(kept[1].max()), intervals.GRID_POINTS).tolist()
    distances = {}
    for lo, hi in itertools.combinations(grid, 2):
        parts = [
            [phi(row[slow_select(row, Interval(lo, hi))]).item() for row in known.logits] for known in (members, others)
        ]
        distances[lo, hi] = ks_2samp(*parts).statistic
    tuned = tune_interval(members, others, scenario="members_and_non_members", criterion="ks")
    assert distances[tuned] == pytest.approx(min(distances.values()))
    assert tuned == next(ends for ends, value in distances.items() if value <= min(distances.values()) + 1e-12)


def test_the_published_search_leaves_the_raw_candidate_out_of_the_grid_and_of_the_mean():
    members = whole(
        [[confident(4.0), confident(2.0), confident(9.0)], [confident(3.0), confident(5.0), confident(0.5)]]
    )
    others = whole([[confident(1.0), confident(6.0), confident(8.0)], [confident(2.0), confident(3.0), confident(7.0)]])
    grids = {}
    for only, least, greatest in ((False, 0.5, 8.0), (True, 2.0, 6.0)):
        known = {"scenario": "members_and_non_members", "only_reconstructions": only}
        grids[only] = np.linspace(least, greatest, intervals.GRID_POINTS)
        for end in tune_interval(members, others, **known):
            assert np.abs(grids[only] - end).min() < 1e-9
        mean = np.mean([4.0, 2.0, 3.0, 5.0, *([] if only else [9.0, 0.5])])
        found = tune_interval(members, others, scenario="members_only", only_reconstructions=only)
        assert found == pytest.approx((least, mean))


def test_without_a_reconstruction_that_keeps_its_label_the_published_search_finds_nothing():
    turned = whole([[confident(4.0, label=1), confident(2.0)]])
    with pytest.raises(UserError, match="no reconstruction"):
        tune_interval(turned, turned, scenario="members_only", only_reconstructions=True)
    with pytest.raises(UserError, match="no interval"):
        tune_interval(turned, turned, scenario="members_and_non_members", only_reconstructions=True)
