import numpy as np
import pytest

from common.attacks.observations import Observations
from common.evaluation import utility
from common.evaluation.answers import Answered
from common.statistics.bootstrap import Bootstrap
from common.statistics.calibration import brier_scores, negative_log_likelihoods, reliability

GENERATOR = np.random.default_rng(0)
LOGITS, LABELS, MEMBER = 2 * GENERATOR.normal(size=(80, 3)), GENERATOR.integers(0, 3, 80), np.arange(80) < 30
ANSWERED = Answered(Observations.of_images(LOGITS, LABELS, MEMBER), np.zeros(80), LABELS, MEMBER)


def test_utility_is_that_of_the_non_members_in_every_resample():
    bootstrap = Bootstrap.draw(MEMBER, resamples=100, seed=0)
    found = utility.of(ANSWERED, bootstrap)
    logits, labels = LOGITS[30:], LABELS[30:]
    assert found.calibration_error.value == reliability(logits, labels).expected_error
    assert found.negative_log_likelihood.value == pytest.approx(negative_log_likelihoods(logits, labels).mean())
    assert found.brier_score.value == pytest.approx(brier_scores(logits, labels).mean())
    again = [np.repeat(np.arange(50), counts.astype(int)) for counts in bootstrap.non_member_counts]
    briers = [brier_scores(logits[rows], labels[rows]).mean() for rows in again]
    errors = [reliability(logits[rows], labels[rows]).expected_error for rows in again]
    assert found.brier_score.interval == pytest.approx(np.quantile(briers, [0.025, 0.975]))
    assert found.calibration_error.interval == pytest.approx(np.quantile(errors, [0.025, 0.975]))
    assert sum(found.bins.counts) == 50 and len(found.bins.counts) == 15
