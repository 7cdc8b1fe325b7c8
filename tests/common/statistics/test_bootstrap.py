import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from common.statistics import bootstrap, roc
from common.statistics.bootstrap import Bootstrap
from tests.common.statistics.slow import operating_points, pairwise_auc, scored


def resampled(scores, member, bootstrap, row):
    """The scores of one resample written out, with samples drawn twice standing twice."""
    ours = np.repeat(scores[member], bootstrap.member_counts[row].astype(int))
    theirs = np.repeat(scores[~member], bootstrap.non_member_counts[row].astype(int))
    return ours, theirs


@given(scored(), st.integers(0, 5))
def test_bootstrap_aucs_are_those_of_the_resamples_written_out(data, seed):
    scores, member = data
    bootstrap = Bootstrap.draw(member, resamples=4, seed=seed)
    for row, auc in enumerate(bootstrap.aucs(scores, member)):
        ours, theirs = resampled(scores, member, bootstrap, row)
        truth = [True] * len(ours) + [False] * len(theirs)
        assert auc == pytest.approx(roc_auc_score(truth, np.concatenate([ours, theirs])), abs=1e-12)


@given(scored(), st.integers(0, 5))
def test_bootstrap_tprs_are_those_of_the_resamples_written_out(data, seed):
    scores, member = data
    grid = np.array([0.0, 0.01, 0.2, 0.5, 0.9, 1.0])
    bootstrap = Bootstrap.draw(member, resamples=3, seed=seed)
    tprs = bootstrap.tprs(scores, member, grid)
    assert tprs.shape == (3, len(grid))
    for row in range(3):
        points = operating_points(*resampled(scores, member, bootstrap, row))
        expected = [max(tpr for _, fpr, tpr in points if fpr <= limit) for limit in grid]
        np.testing.assert_allclose(tprs[row], expected, atol=1e-12)


@given(scored())
def test_the_test_set_as_its_own_resample_gives_the_plain_metrics(data):
    scores, member = data
    once = Bootstrap.once(member)
    assert once.aucs(scores, member) == pytest.approx([roc.auc(scores, member)], abs=1e-12)
    expected = [roc.tpr_at_fpr(scores, member, limit) for limit in (0.0, 0.3)]
    assert once.tprs(scores, member, np.array([0.0, 0.3]))[0] == pytest.approx(expected, abs=1e-12)


def test_resamples_keep_the_number_of_each_kind_and_depend_on_the_seed_alone():
    member = np.array([True] * 7 + [False] * 4)
    first, again, other = (Bootstrap.draw(member, resamples=50, seed=seed) for seed in (1, 1, 2))
    assert (first.member_counts.sum(axis=1) == 7).all() and (first.non_member_counts.sum(axis=1) == 4).all()
    assert first.member_counts.shape == (50, 7) and first.non_member_counts.shape == (50, 4)
    assert np.array_equal(first.member_counts, again.member_counts)
    assert not np.array_equal(first.member_counts, other.member_counts)


def test_every_sample_is_drawn_once_on_average():
    bootstrap = Bootstrap.draw(np.arange(20) < 10, resamples=4000, seed=0)
    np.testing.assert_allclose(bootstrap.member_counts.mean(axis=0), 1, atol=0.08)  # 5 standard errors
    np.testing.assert_allclose(bootstrap.member_counts.var(axis=0), 0.9, atol=0.12)  # binomial(10, 1/10)


def test_interval95_leaves_out_the_outer_twentieth():
    assert bootstrap.interval95(np.arange(1001.0)) == (25.0, 975.0)


def test_a_resample_of_nan_is_an_error():
    member = np.array([True, False])
    with pytest.raises(ValueError, match="NaN"):
        bootstrap.Bootstrap.once(member).aucs(np.array([np.nan, 0.0]), member)
    with pytest.raises(ValueError, match="NaN"):
        bootstrap.Bootstrap.once(member).tprs(np.array([np.nan, 0.0]), member, np.array([0.1]))


@given(scored(), st.integers(0, 5))
def test_bootstrap_accuracies_are_those_of_the_resamples_written_out(data, seed):
    scores, member = data
    bootstrap = Bootstrap.draw(member, resamples=3, seed=seed)
    fixed, hindsight = bootstrap.accuracies(scores, member, 0.0), bootstrap.hindsight_accuracies(scores, member)
    for row in range(3):
        ours, theirs = resampled(scores, member, bootstrap, row)
        assert fixed[row] == pytest.approx((np.mean(ours >= 0) + np.mean(theirs < 0)) / 2, abs=1e-12)
        best = max((tpr + 1 - fpr) / 2 for _, fpr, tpr in operating_points(ours, theirs))
        assert hindsight[row] == pytest.approx(best, abs=1e-12)


@given(scored(), scored())
def test_joined_resamples_are_those_of_both_sets_side_by_side(first, second):
    (ours, our_kind), (theirs, their_kind) = first, second
    parts = [
        Bootstrap.draw(kind, resamples=3, seed=1, name=(name,)) for kind, name in ((our_kind, "a"), (their_kind, "b"))
    ]
    joined = parts[0].joined(parts[1])
    scores, member = np.concatenate([ours, theirs]), np.concatenate([our_kind, their_kind])
    for row, auc in enumerate(joined.aucs(scores, member)):
        kinds = zip(resampled(ours, our_kind, parts[0], row), resampled(theirs, their_kind, parts[1], row), strict=True)
        assert auc == pytest.approx(pairwise_auc(*(np.concatenate(kind) for kind in kinds)), abs=1e-12)


def test_samples_that_are_told_apart_surely_are_no_better_than_that_among_others():
    """Counts that were scaled add up to a rounding more or less than there are samples."""
    for n in range(5, 60):
        member, generator = np.arange(2 * n) < n, np.random.default_rng(n)
        chosen = np.isin(np.arange(2 * n) % n, generator.choice(n, size=n // 2 + 1, replace=False))
        among = Bootstrap.draw(member, resamples=200, seed=0).among(chosen, member)
        scores, kind = np.where(member, 1.0, -1.0)[chosen], member[chosen]
        for found in (
            among.aucs(scores, kind),
            among.accuracies(scores, kind, 0.0),
            among.hindsight_accuracies(scores, kind),
        ):
            assert found.max() <= 1 and found == pytest.approx(1.0)
        assert among.aucs(-scores, kind).min() == 0


def test_resamples_of_another_name_are_other_ones():
    member = np.arange(30) < 15
    plain, named = (Bootstrap.draw(member, resamples=5, seed=0, name=name) for name in ((), ("fitting",)))
    assert not np.array_equal(plain.member_counts, named.member_counts)
