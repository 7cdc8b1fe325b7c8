import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from common.attacks import metrics
from common.attacks.metrics import Bootstrap


@st.composite
def scored(draw):
    """Scores with many ties, and who is a member; at least one of each kind."""
    kinds = st.lists(st.integers(-4, 4), min_size=1, max_size=12)
    ours, theirs = draw(kinds), draw(kinds)
    order = draw(st.permutations(range(len(ours) + len(theirs))))
    scores = np.array(ours + theirs, dtype=np.float64)[order] / 3
    return scores, (np.arange(len(scores)) < len(ours))[order]


def pairwise_auc(ours, theirs):
    return sum((a > b) + 0.5 * (a == b) for a in ours for b in theirs) / (len(ours) * len(theirs))


def operating_points(ours, theirs):
    """(threshold, FPR, TPR) of "member if score >= threshold", for every threshold that makes a difference."""
    cuts = [*sorted({*ours, *theirs}), np.inf]
    return [(t, np.mean([s >= t for s in theirs]), np.mean([s >= t for s in ours])) for t in cuts]


@given(scored())
def test_auc_is_the_pairwise_count_with_ties_a_half(data):
    scores, member = data
    assert metrics.auc(scores, member) == pytest.approx(pairwise_auc(scores[member], scores[~member]), abs=1e-12)


@given(scored())
def test_auc_sees_the_order_alone_and_reverses_with_it(data):
    scores, member = data
    auc = metrics.auc(scores, member)
    assert metrics.auc(np.exp(3 * scores) - 7, member) == pytest.approx(auc, abs=1e-12)
    assert metrics.auc(-scores, member) == pytest.approx(1 - auc, abs=1e-12)
    assert metrics.auc(scores, ~member) == pytest.approx(1 - auc, abs=1e-12)


def test_end_points_of_every_metric():
    member = np.array([True, True, False, False])
    perfect, useless = np.array([4.0, 3.0, 2.0, 1.0]), np.zeros(4)
    assert metrics.auc(perfect, member) == 1 and metrics.auc(-perfect, member) == 0
    assert metrics.auc(useless, member) == 0.5
    assert metrics.tpr_at_fpr(perfect, member, 0.001) == 1 and metrics.tpr_at_fpr(-perfect, member, 0.001) == 0
    assert metrics.tnr_at_fnr(perfect, member, 0.001) == 1 and metrics.tnr_at_fnr(-perfect, member, 0.001) == 0
    assert metrics.tpr_at_fpr(useless, member, 0.5) == 0 and metrics.tpr_at_fpr(useless, member, 1.0) == 1
    assert metrics.best_threshold(perfect, member) == 3
    assert metrics.balanced_accuracy(perfect, member, 3.0) == 1
    assert metrics.balanced_accuracy(perfect, member, 2.0) == 0.75
    assert metrics.balanced_accuracy(perfect, member, np.inf) == 0.5


@given(scored(), st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 2 / 3, 1.0]))
def test_tpr_at_fpr_is_the_best_of_all_thresholds(data, limit):
    scores, member = data
    expected = max(tpr for _, fpr, tpr in operating_points(scores[member], scores[~member]) if fpr <= limit)
    assert metrics.tpr_at_fpr(scores, member, limit) == expected


@given(scored(), st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0]))
def test_tnr_at_fnr_is_the_best_of_all_thresholds_for_non_members(data, limit):
    scores, member = data
    ours, theirs = scores[member], scores[~member]
    cuts = [-np.inf, *scores]  # non-member if score <= cut
    expected = max(np.mean(theirs <= cut) for cut in cuts if np.mean(ours <= cut) <= limit)
    assert metrics.tnr_at_fnr(scores, member, limit) == expected


def test_the_limit_of_one_false_positive_in_a_thousand_admits_one_in_a_thousand():
    scores = np.concatenate([np.full(10, 5.0), [6.0], np.zeros(999)])
    member = np.arange(len(scores)) < 10
    assert metrics.tpr_at_fpr(scores, member, 0.001) == 1.0
    assert metrics.tpr_at_fpr(scores, member, 0.0009) == 0.0


@given(scored())
def test_no_threshold_has_a_greater_balanced_accuracy_than_the_best(data):
    scores, member = data
    points = operating_points(scores[member], scores[~member])[:-1]  # a threshold that some sample reaches
    best = metrics.balanced_accuracy(scores, member, metrics.best_threshold(scores, member))
    assert best == pytest.approx(max((tpr + 1 - fpr) / 2 for _, fpr, tpr in points), abs=1e-12)


def test_of_equally_good_thresholds_the_greatest_is_taken():
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    member = np.array([True, False, True, False])  # 4 and 2 both have balanced accuracy 3/4
    assert metrics.best_threshold(scores, member) == 4


@pytest.mark.parametrize(
    ("scores", "member"),
    [
        ([1.0, np.nan], [True, False]),
        ([1.0, np.inf], [True, False]),
        ([1.0, 2.0], [True, True]),
        ([1.0, 2.0], [False, False]),
        ([1.0, 2.0], [1, 0]),
        ([1.0, 2.0, 3.0], [True, False]),
        ([[1.0], [2.0]], [[True], [False]]),
    ],
)
def test_degenerate_input_is_an_error_and_never_a_number(scores, member):
    arguments = np.array(scores), np.array(member)
    for call in (
        lambda: metrics.auc(*arguments),
        lambda: metrics.best_threshold(*arguments),
        lambda: metrics.balanced_accuracy(*arguments, 0.0),
        lambda: metrics.tpr_at_fpr(*arguments, 0.1),
    ):
        with pytest.raises(ValueError):
            call()


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
    assert once.aucs(scores, member) == pytest.approx([metrics.auc(scores, member)], abs=1e-12)
    expected = [metrics.tpr_at_fpr(scores, member, limit) for limit in (0.0, 0.3)]
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
    assert metrics.interval95(np.arange(1001.0)) == (25.0, 975.0)


def test_of_thresholds_that_differ_by_rounding_only_the_greatest_counts():
    scores, member = np.arange(6.0, 0, -1), np.array([True, False, False, True, True, False])
    assert metrics.best_threshold(scores, member) == 6  # 6 and 2 both have TPR - FPR = 1/3


def test_a_resample_of_nan_is_an_error():
    member = np.array([True, False])
    with pytest.raises(ValueError, match="NaN"):
        metrics.Bootstrap.once(member).aucs(np.array([np.nan, 0.0]), member)
    with pytest.raises(ValueError, match="NaN"):
        metrics.Bootstrap.once(member).tprs(np.array([np.nan, 0.0]), member, np.array([0.1]))


@given(scored())
def test_the_best_threshold_is_the_greatest_of_the_best_counted_in_whole_numbers(data):
    scores, member = data
    ours, theirs = scores[member], scores[~member]

    def gain(cut):
        return int((ours >= cut).sum()) * len(theirs) - int((theirs >= cut).sum()) * len(ours)

    assert metrics.best_threshold(scores, member) == max(scores, key=lambda cut: (gain(cut), cut))


@given(scored(), st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 1.0]))
def test_strict_rates_stay_below_the_limit(data, limit):
    scores, member = data
    points = operating_points(scores[member], scores[~member])
    expected = max((tpr for _, fpr, tpr in points if fpr < limit), default=0)
    assert metrics.tpr_at_fpr(scores, member, limit, strict=True) == expected
    ours, theirs = scores[member], scores[~member]
    cuts = [-np.inf, *scores]  # non-member if score <= cut
    expected = max(np.mean(theirs <= cut) for cut in cuts if np.mean(ours <= cut) < limit)
    assert metrics.tnr_at_fnr(scores, member, limit, strict=True) == expected


def test_one_false_positive_in_a_thousand_is_not_below_one_in_a_thousand():
    scores = np.concatenate([np.full(10, 5.0), [6.0], np.zeros(999)])
    member = np.arange(len(scores)) < 10
    assert metrics.tpr_at_fpr(scores, member, 0.001) == 1.0
    assert metrics.tpr_at_fpr(scores, member, 0.001, strict=True) == 0.0


@given(scored())
def test_hindsight_accuracy_is_the_best_of_all_thresholds_that_of_nobody_included(data):
    scores, member = data
    points = operating_points(scores[member], scores[~member])
    assert metrics.hindsight_accuracy(scores, member) == pytest.approx(
        max((tpr + 1 - fpr) / 2 for _, fpr, tpr in points), abs=1e-12
    )


@given(scored())
def test_auc_is_that_of_scikit_learn(data):
    scores, member = data
    assert metrics.auc(scores, member) == pytest.approx(roc_auc_score(member, scores), abs=1e-12)


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


def test_resamples_of_another_name_are_other_ones():
    member = np.arange(30) < 15
    plain, named = (Bootstrap.draw(member, resamples=5, seed=0, name=name) for name in ((), ("fitting",)))
    assert not np.array_equal(plain.member_counts, named.member_counts)
