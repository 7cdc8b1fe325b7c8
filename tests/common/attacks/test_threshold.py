import numpy as np
import pytest

from common.attacks import metrics, threshold
from common.attacks.answers import Answers
from common.attacks.scores import SCORES


def top_logit(logits, labels):
    return logits[:, 0]


def answers(values, labels, member, *, classes=3):
    logits = np.zeros((len(values), classes))
    logits[:, 0] = values
    return Answers(logits, np.array(labels), np.array(member, dtype=bool))


#                      class 0: threshold 8 | class 1: threshold 2 | class 2: no member
FIT_ON = answers([9, 8, 7, 6, 3, 2, 1, 0, 5], [0, 0, 0, 0, 1, 1, 1, 1, 2], [1, 1, 0, 0, 1, 1, 0, 0, 0])


def test_class_thresholds_by_hand():
    attack = threshold.fit(top_logit, FIT_ON, per_class=True)
    assert attack.thresholds.tolist() == [8, 2, 8]  # class 2 gets the threshold of all samples


def test_one_threshold_for_all_by_hand():
    attack = threshold.fit(top_logit, FIT_ON, per_class=False)
    assert attack.thresholds.tolist() == [8, 8, 8]  # TPR 2/4, FPR 0: balanced accuracy 3/4


def test_a_sample_on_the_threshold_is_called_a_member():
    attack = threshold.fit(top_logit, FIT_ON, per_class=True)
    scores = attack.scores(answers([8, 7.5, 2, 1.5], [0, 0, 1, 1], [1, 0, 1, 0]))
    assert scores.tolist() == [0, -0.5, 0, -0.5]


@pytest.mark.parametrize("name", SCORES)
def test_one_threshold_for_all_does_not_change_the_auc(name):
    generator = np.random.default_rng(0)
    given = Answers(generator.normal(size=(60, 4)), generator.integers(0, 4, 60), np.arange(60) % 2 == 0)
    attack = threshold.fit(SCORES[name], given, per_class=False)
    plain = SCORES[name](given.logits, given.labels)
    assert metrics.auc(attack.scores(given), given.member) == pytest.approx(metrics.auc(plain, given.member), abs=1e-3)
    assert metrics.balanced_accuracy(attack.scores(given), given.member, 0.0) == metrics.balanced_accuracy(
        plain, given.member, attack.thresholds[0]
    )


def test_class_thresholds_are_never_worse_on_the_answers_they_were_fitted_on():
    accuracy = {
        per_class: metrics.balanced_accuracy(
            threshold.fit(top_logit, FIT_ON, per_class=per_class).scores(FIT_ON), FIT_ON.member, 0.0
        )
        for per_class in (True, False)
    }
    assert accuracy == {True: 1.0, False: 0.75}
