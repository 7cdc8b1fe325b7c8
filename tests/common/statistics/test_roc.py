import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from common.statistics import roc
from tests.common.statistics.slow import operating_points, pairwise_auc, scored


@given(scored())
def test_auc_is_the_pairwise_count_with_ties_a_half(data):
    scores, member = data
    assert roc.auc(scores, member) == pytest.approx(pairwise_auc(scores[member], scores[~member]), abs=1e-12)


@given(scored())
def test_auc_sees_the_order_alone_and_reverses_with_it(data):
    scores, member = data
    auc = roc.auc(scores, member)
    assert roc.auc(np.exp(3 * scores) - 7, member) == pytest.approx(auc, abs=1e-12)
    assert roc.auc(-scores, member) == pytest.approx(1 - auc, abs=1e-12)
    assert roc.auc(scores, ~member) == pytest.approx(1 - auc, abs=1e-12)


def test_end_points_of_every_metric():
    member = np.array([True, True, False, False])
    perfect, useless = np.array([4.0, 3.0, 2.0, 1.0]), np.zeros(4)
    assert roc.auc(perfect, member) == 1 and roc.auc(-perfect, member) == 0
    assert roc.auc(useless, member) == 0.5
    assert roc.tpr_at_fpr(perfect, member, 0.001) == 1 and roc.tpr_at_fpr(-perfect, member, 0.001) == 0
    assert roc.tnr_at_fnr(perfect, member, 0.001) == 1 and roc.tnr_at_fnr(-perfect, member, 0.001) == 0
    assert roc.tpr_at_fpr(useless, member, 0.5) == 0 and roc.tpr_at_fpr(useless, member, 1.0) == 1
    assert roc.best_threshold(perfect, member) == 3
    assert roc.balanced_accuracy(perfect, member, 3.0) == 1
    assert roc.balanced_accuracy(perfect, member, 2.0) == 0.75
    assert roc.balanced_accuracy(perfect, member, np.inf) == 0.5


@given(scored(), st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 2 / 3, 1.0]))
def test_tpr_at_fpr_is_the_best_of_all_thresholds(data, limit):
    scores, member = data
    expected = max(tpr for _, fpr, tpr in operating_points(scores[member], scores[~member]) if fpr <= limit)
    assert roc.tpr_at_fpr(scores, member, limit) == expected


@given(scored(), st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0]))
def test_tnr_at_fnr_is_the_best_of_all_thresholds_for_non_members(data, limit):
    scores, member = data
    ours, theirs = scores[member], scores[~member]
    cuts = [-np.inf, *scores]  # non-member if score <= cut
    expected = max(np.mean(theirs <= cut) for cut in cuts if np.mean(ours <= cut) <= limit)
    assert roc.tnr_at_fnr(scores, member, limit) == expected


def test_the_limit_of_one_false_positive_in_a_thousand_admits_one_in_a_thousand():
    scores = np.concatenate([np.full(10, 5.0), [6.0], np.zeros(999)])
    member = np.arange(len(scores)) < 10
    assert roc.tpr_at_fpr(scores, member, 0.001) == 1.0
    assert roc.tpr_at_fpr(scores, member, 0.0009) == 0.0


@given(scored())
def test_no_threshold_has_a_greater_balanced_accuracy_than_the_best(data):
    scores, member = data
    points = operating_points(scores[member], scores[~member])[:-1]  # a threshold that some sample reaches
    best = roc.balanced_accuracy(scores, member, roc.best_threshold(scores, member))
    assert best == pytest.approx(max((tpr + 1 - fpr) / 2 for _, fpr, tpr in points), abs=1e-12)


def test_of_equally_good_thresholds_the_greatest_is_taken():
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    member = np.array([True, False, True, False])  # 4 and 2 both have balanced accuracy 3/4
    assert roc.best_threshold(scores, member) == 4


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
        lambda: roc.auc(*arguments),
        lambda: roc.best_threshold(*arguments),
        lambda: roc.balanced_accuracy(*arguments, 0.0),
        lambda: roc.tpr_at_fpr(*arguments, 0.1),
    ):
        with pytest.raises(ValueError):
            call()


def test_of_thresholds_that_differ_by_rounding_only_the_greatest_counts():
    scores, member = np.arange(6.0, 0, -1), np.array([True, False, False, True, True, False])
    assert roc.best_threshold(scores, member) == 6  # 6 and 2 both have TPR - FPR = 1/3


@given(scored())
def test_the_best_threshold_is_the_greatest_of_the_best_counted_in_whole_numbers(data):
    scores, member = data
    ours, theirs = scores[member], scores[~member]

    def gain(cut):
        return int((ours >= cut).sum()) * len(theirs) - int((theirs >= cut).sum()) * len(ours)

    assert roc.best_threshold(scores, member) == max(scores, key=lambda cut: (gain(cut), cut))


@given(scored(), st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 1.0]))
def test_strict_rates_stay_below_the_limit(data, limit):
    scores, member = data
    points = operating_points(scores[member], scores[~member])
    expected = max((tpr for _, fpr, tpr in points if fpr < limit), default=0)
    assert roc.tpr_at_fpr(scores, member, limit, strict=True) == expected
    ours, theirs = scores[member], scores[~member]
    cuts = [-np.inf, *scores]  # non-member if score <= cut
    expected = max(np.mean(theirs <= cut) for cut in cuts if np.mean(ours <= cut) < limit)
    assert roc.tnr_at_fnr(scores, member, limit, strict=True) == expected


def test_one_false_positive_in_a_thousand_is_not_below_one_in_a_thousand():
    scores = np.concatenate([np.full(10, 5.0), [6.0], np.zeros(999)])
    member = np.arange(len(scores)) < 10
    assert roc.tpr_at_fpr(scores, member, 0.001) == 1.0
    assert roc.tpr_at_fpr(scores, member, 0.001, strict=True) == 0.0


@given(scored())
def test_hindsight_accuracy_is_the_best_of_all_thresholds_that_of_nobody_included(data):
    scores, member = data
    points = operating_points(scores[member], scores[~member])
    assert roc.hindsight_accuracy(scores, member) == pytest.approx(
        max((tpr + 1 - fpr) / 2 for _, fpr, tpr in points), abs=1e-12
    )


@given(scored())
def test_auc_is_that_of_scikit_learn(data):
    scores, member = data
    assert roc.auc(scores, member) == pytest.approx(roc_auc_score(member, scores), abs=1e-12)
