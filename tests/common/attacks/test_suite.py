import numpy as np
import pytest

from common.attacks import neural, suite, threshold
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
    assert result.keys() == {*SCORES, *per_class, "nn"}
    assert tuple(result) == suite.ALL
    for scores, member in result.values():
        assert scores.shape == (len(TEST),) and np.isfinite(scores).all()
        assert np.array_equal(member, TEST.member)


def test_scores_are_those_of_each_attack_fitted_on_the_whole_fitting_role(result):
    confidence = threshold.fit(SCORES["confidence"], FIT_ON, per_class=True).scores(TEST)
    assert np.array_equal(result["confidence_per_class"].scores, confidence)
    assert np.array_equal(result["nn"].scores, neural.fit(FIT_ON, CONFIG, seed=3).scores(TEST))


def test_a_score_belongs_to_its_answer_and_not_to_its_place(result):
    order = np.random.default_rng(0).permutation(len(TEST))
    for name, (scores, _) in suite.run(FIT_ON, TEST[order], CONFIG, seed=3).items():
        np.testing.assert_allclose(scores, result[name].scores[order], atol=1e-6)


def test_merged_sets_are_the_fitting_and_the_test_answers_for_threshold_attacks_only():
    names = ("loss", "entropy_per_class", "nn")
    merged = suite.run(FIT_ON, TEST, CONFIG, seed=3, names=names, merged_sets=True)
    plain = suite.run(FIT_ON, TEST, CONFIG, seed=3, names=names)
    assert merged.keys() == plain.keys() == set(names)
    for name in names[:2]:
        scores, member = merged[name]
        assert len(scores) == len(member) == 48 + 30
        assert np.array_equal(scores[48:], plain[name].scores)
        assert np.array_equal(member, np.concatenate([FIT_ON.member, TEST.member]))
    assert np.array_equal(merged["nn"].scores, plain["nn"].scores)


def test_in_hindsight_scores_have_no_threshold_in_them():
    hindsight = suite.run(FIT_ON, TEST, CONFIG, seed=3, names=("loss", "entropy_per_class"), hindsight_threshold=True)
    assert np.array_equal(hindsight["loss"].scores, SCORES["loss"](TEST.logits, TEST.labels))
    fitted = threshold.fit(SCORES["entropy"], FIT_ON, per_class=True).scores(TEST)
    assert np.array_equal(hindsight["entropy_per_class"].scores, fitted)


def test_the_epoch_can_be_picked_on_the_test_answers():
    config = CONFIG.model_copy(update={"epochs": 3})
    picked = suite.run(FIT_ON, TEST, config, seed=3, names=("nn",), epoch_by_test_auc=True)["nn"]
    assert np.array_equal(picked.scores, neural.fit(FIT_ON, config, seed=3, choose_on=TEST).scores(TEST))
