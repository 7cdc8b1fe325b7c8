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
    for scores in result.values():
        assert scores.shape == (len(TEST),) and np.isfinite(scores).all()


def test_scores_are_those_of_each_attack_fitted_on_the_whole_fitting_role(result):
    confidence = threshold.fit(SCORES["confidence"], FIT_ON, per_class=True).scores(TEST)
    assert np.array_equal(result["confidence_per_class"], confidence)
    assert np.array_equal(result["nn"], neural.fit(FIT_ON, CONFIG, seed=3).scores(TEST))


def test_a_score_belongs_to_its_answer_and_not_to_its_place(result):
    order = np.random.default_rng(0).permutation(len(TEST))
    for name, scores in suite.run(FIT_ON, TEST[order], CONFIG, seed=3).items():
        np.testing.assert_allclose(scores, result[name][order], atol=1e-6)
