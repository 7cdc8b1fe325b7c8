import numpy as np
import pytest

from common.attacks import ATTACKS, threshold
from common.attacks.interface import Fitting
from common.attacks.observations import Observations
from common.statistics import roc

FITTED, HINDSIGHT = Fitting(None, 0), Fitting(None, 0, hindsight_threshold=True)


def top_logit(logits, labels):
    return logits[:, 0]


def answers(values, labels, member, *, classes=3):
    logits = np.zeros((len(values), classes))
    logits[:, 0] = values
    return Observations.of_images(logits, np.array(labels), np.array(member, dtype=bool))


#                      class 0: threshold 8 | class 1: threshold 2 | class 2: no member
FIT_ON = answers([9, 8, 7, 6, 3, 2, 1, 0, 5], [0, 0, 0, 0, 1, 1, 1, 1, 2], [1, 1, 0, 0, 1, 1, 0, 0, 0])
ATTACK = threshold.attack("top", top_logit, source="this test")
PER_CLASS = threshold.attack("top_per_class", top_logit, source="this test", per_class=True)


def test_class_thresholds_by_hand():
    assert PER_CLASS.fit(FIT_ON, FITTED).tolist() == [8, 2, 8]  # class 2 gets the threshold of all samples


def test_one_threshold_for_all_by_hand():
    assert ATTACK.fit(FIT_ON, FITTED).tolist() == [8, 8, 8]  # TPR 2/4, FPR 0: balanced accuracy 3/4


def test_a_sample_on_the_threshold_is_called_a_member():
    given = answers([8, 7.5, 2, 1.5], [0, 0, 1, 1], [1, 0, 1, 0])
    assert PER_CLASS.scores(PER_CLASS.fit(FIT_ON, FITTED), given).tolist() == [0, -0.5, 0, -0.5]


def test_in_hindsight_one_threshold_is_not_fitted_and_those_of_classes_are():
    assert np.array_equal(ATTACK.scores(ATTACK.fit(FIT_ON, HINDSIGHT), FIT_ON), FIT_ON.logits[:, 0])
    assert PER_CLASS.fit(FIT_ON, HINDSIGHT).tolist() == [8, 2, 8]


@pytest.mark.parametrize("name", ["confidence", "loss", "entropy", "modified_entropy", "correctness"])
def test_one_threshold_for_all_does_not_change_the_auc(name):
    generator = np.random.default_rng(0)
    member = np.arange(60) % 2 == 0
    given = Observations.of_images(generator.normal(size=(60, 4)), generator.integers(0, 4, 60), member)
    attack = ATTACKS[name]
    thresholds = attack.fit(given, FITTED)
    plain, shifted = (attack.scores(learnt, given) for learnt in (None, thresholds))
    assert roc.auc(shifted, member) == pytest.approx(roc.auc(plain, member), abs=1e-3)
    assert roc.balanced_accuracy(shifted, member, 0.0) == roc.balanced_accuracy(plain, member, thresholds[0])


@pytest.mark.parametrize("name", ["confidence", "loss", "entropy", "modified_entropy"])
def test_a_threshold_does_not_hide_who_is_surest(name):
    """Members' phi is normal round 30; half of the others' round 15, so the threshold lies far below the surest."""

    def given(seed):
        generator = np.random.default_rng(seed)
        member = np.arange(2000) < 1000
        centre = np.where(member | (generator.random(2000) < 0.5), 30, 15)
        return answers(generator.normal(centre, 12), np.zeros(2000, dtype=np.int64), member)

    attack, test = ATTACKS[name], given(1)
    plain, shifted = (attack.scores(attack.fit(given(0), fitting), test) for fitting in (HINDSIGHT, FITTED))
    assert len(np.unique(shifted)) == len(np.unique(plain)) > 1990
    assert roc.auc(shifted, test.membership) == roc.auc(plain, test.membership)
    rate = roc.tpr_at_fpr(shifted, test.membership, 0.01)
    assert rate == roc.tpr_at_fpr(plain, test.membership, 0.01) > 0


def test_class_thresholds_are_never_worse_on_the_answers_they_were_fitted_on():
    accuracies = [
        roc.balanced_accuracy(attack.scores(attack.fit(FIT_ON, FITTED), FIT_ON), FIT_ON.membership, 0.0)
        for attack in (PER_CLASS, ATTACK)
    ]
    assert accuracies == [1.0, 0.75]


def test_without_membership_nothing_is_fitted():
    unknown = Observations(FIT_ON.answers, FIT_ON.labels, None)
    with pytest.raises(ValueError, match="not known"):
        ATTACK.fit(unknown, FITTED)
    assert len(ATTACK.scores(ATTACK.fit(FIT_ON, FITTED), unknown)) == 9
