import numpy as np
import pytest

from common.attacks import metrics, neural, suite, threshold
from common.attacks.answers import Answers
from common.attacks.scores import SCORES
from common.config import NNAttackConfig

CONFIG = NNAttackConfig(epochs=1, batch_size=16, learning_rate=1e-3, decay_epoch=1, validation=0.25)


def answers(n, *, seed):
    generator = np.random.default_rng(seed)
    labels, member = generator.integers(0, 3, n), generator.permutation(n) % 2 == 0
    logits = generator.normal(size=(n, 3))
    logits[np.arange(n), labels] += member
    return Answers(logits, labels, member)


FIT_ON, TEST = answers(48, seed=0), answers(30, seed=1)


@pytest.fixture(scope="module")
def result():
    return suite.run(FIT_ON, TEST, CONFIG, seed=3)


def test_every_attack_scores_every_test_answer(result):
    per_class = {"confidence_per_class", "entropy_per_class", "modified_entropy_per_class"}
    assert result.scores.keys() == {*SCORES, *per_class, "nn"}
    for scores in result.scores.values():
        assert scores.shape == (len(TEST),) and np.isfinite(scores).all()


def test_scores_are_those_of_each_attack_fitted_on_the_whole_fitting_role(result):
    confidence = threshold.fit(SCORES["confidence"], FIT_ON, per_class=True).scores(TEST)
    assert np.array_equal(result.scores["confidence_per_class"], confidence)
    assert np.array_equal(result.scores["nn"], neural.fit(FIT_ON, CONFIG, seed=3).scores(TEST))


def test_the_favourite_is_best_on_the_held_back_half_of_the_fitting_role(result):
    ours, theirs = np.flatnonzero(FIT_ON.member), np.flatnonzero(~FIT_ON.member)
    fit_on, held_back = (FIT_ON[np.sort(np.concatenate([ours[start::2], theirs[start::2]]))] for start in (0, 1))
    aucs = {
        name: metrics.auc(fit(fit_on).scores(held_back), held_back.member)
        for name, fit in suite.attacks(CONFIG, seed=3).items()
    }
    assert aucs[result.favourite] == max(aucs.values()) > 0.6


def test_the_test_answers_have_no_say_in_the_favourite(result):
    upside_down = Answers(-TEST.logits, TEST.labels, ~TEST.member)
    assert suite.run(FIT_ON, upside_down, CONFIG, seed=3).favourite == result.favourite


def test_a_score_belongs_to_its_answer_and_not_to_its_place(result):
    order = np.random.default_rng(0).permutation(len(TEST))
    for name, scores in suite.run(FIT_ON, TEST[order], CONFIG, seed=3).scores.items():
        np.testing.assert_allclose(scores, result.scores[name][order], atol=1e-6)


def test_every_other_member_and_every_other_non_member_by_hand():
    member = np.array([True, True, False, True, False, False, True])
    assert suite._alternate(member).tolist() == [True, False, True, True, False, True, False]
