"""Cases whose outcome is known beforehand."""

from dataclasses import replace
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest

from common.attacks import ATTACKS, decimals, suite
from common.attacks.interface import Fitting
from common.attacks.nn import NNAttackConfig
from common.attacks.observations import Observations
from common.statistics import roc
from tests.common.attacks.full import observations

CONFIG = NNAttackConfig(epochs=1, batch_size=64, learning_rate=1e-3, decay_epoch=1, validation=0.25)
FITTING = Fitting(SimpleNamespace(nn_attack=CONFIG), 3)
OF_ANSWERS = (
    "likelihood_ratio",
    "near_copies_1",
    "near_copies_4",
    "near_copies_16",
    "near_copies_64",
    "noisy_copies_5",
    "noisy_copies_15",
    "shifted_copies",
)


def auc_of(name, fit_on, test):
    attack = ATTACKS[name]
    return roc.auc(attack.scores(attack.fit(fit_on, FITTING), test), test.membership)


def marked(n, *, seed):
    """Answers that say nothing of membership but in the fifth digit behind the point of the first logit: even for
    members, odd for others."""
    alike = observations(n, seed=seed, separation=0.0)
    answers = np.abs(alike.answers)
    whole = np.floor(answers[:, :, 0] * 1e4)
    digit = 2 * np.random.default_rng(seed).integers(0, 5, whole.shape) + ~alike.membership[:, None]
    answers[:, :, 0] = (whole * 10 + digit + 0.2) / 1e5
    return replace(alike, answers=answers)


@pytest.mark.parametrize("name", OF_ANSWERS)
def test_a_membership_bit_in_the_fifth_digit_is_found(name):
    assert auc_of(name, marked(300, seed=0), marked(300, seed=1)) > 0.95


@pytest.mark.parametrize("name", OF_ANSWERS)
def test_the_same_answers_without_the_bit_say_nothing(name):
    alike = [observations(300, seed=seed, separation=0.0) for seed in (0, 1)]
    assert abs(auc_of(name, *alike) - 0.5) < 0.11  # more than three standard deviations


def test_digits_of_honest_answers_are_not_suspected():
    suspected = 0
    for seed in range(20):
        honest = observations(200, seed=seed, separation=2.0)
        suspected += bool(decimals.fit(honest.answers, honest.membership))
    assert suspected <= 1


def test_digits_are_those_of_the_number_as_it_is_written():
    values = np.random.default_rng(0).uniform(-20, 20, 200)
    for place in decimals.PLACES:
        rounded = np.round(values, place)
        large = np.abs(rounded) >= 10.0 ** (2 - place)
        near = (np.abs(rounded) < 1) & (1 - np.abs(rounded) < 10.0 ** (2 - place))
        written = np.array([int(f"{abs(value):.9f}".split(".")[1][place - 1]) for value in rounded])
        assert np.array_equal(decimals._digits(rounded, place), np.where(large & ~near, written, decimals.NONE))


def gaussian(n, separation, *, seed):
    """Two classes, answered so that phi of the true label is normal with variance 1, its mean ``separation`` higher for
    members, and far enough from 0 that all are answered rightly."""
    generator = np.random.default_rng(seed)
    member, labels = np.arange(n) < n // 2, generator.integers(0, 2, n)
    value = generator.normal(size=n) + separation * member + 8
    logits = np.zeros((n, 2))
    logits[np.arange(n), labels] = value
    return Observations.of_images(logits, labels, member)


@pytest.mark.parametrize("name", ["likelihood_ratio", "near_copies_1", "loss", "confidence"])
@pytest.mark.parametrize("separation", [0.5, -0.5, 1.5])
def test_gaussian_answers_give_the_analytic_roc(name, separation):
    """AUC = Phi(d / sqrt 2), TPR = Phi(d + Phi^-1(FPR)); attacks that are fitted find the side by themselves."""
    if separation < 0 and name in ("loss", "confidence"):
        return  # which only look upwards
    fit_on, test = gaussian(4000, separation, seed=0), gaussian(4000, separation, seed=1)
    attack, normal, d = ATTACKS[name], NormalDist(), abs(separation)
    scores = attack.scores(attack.fit(fit_on, FITTING), test)
    assert roc.auc(scores, test.membership) == pytest.approx(normal.cdf(d / 2**0.5), abs=0.025)
    for fpr in (0.1, 0.3):
        expected = normal.cdf(d + normal.inv_cdf(fpr))
        assert roc.tpr_at_fpr(scores, test.membership, fpr) == pytest.approx(expected, abs=0.05)


def test_the_log_ratio_is_that_of_the_densities():
    """For two normals of equal variance it is linear: d (x - d / 2)."""
    d = 1.0
    fit_on, test = gaussian(4000, d, seed=0), gaussian(400, d, seed=1)
    attack = ATTACKS["likelihood_ratio"]
    x = test.logits.max(axis=1) - 8
    central = np.abs(x - d / 2) < 1
    found = attack.scores(attack.fit(fit_on, FITTING), test)[central]
    assert np.corrcoef(found, x[central])[0, 1] > 0.9
    assert np.abs(found - d * (x[central] - d / 2)).mean() < 0.3


def test_more_queries_tell_more_where_answers_are_noisy():
    """One answer is too noisy to tell; the mean of 64 is not."""

    def noisy(seed):
        given, generator = observations(400, seed=seed, separation=2.0), np.random.default_rng(100 + seed)
        return replace(given, answers=given.answers + 4 * generator.normal(size=given.answers.shape), interval=None)

    fit_on, test = noisy(0), noisy(1)
    one, four, sixteen, many = (auc_of(f"near_copies_{k}", fit_on, test) for k in (1, 4, 16, 64))
    assert one + 0.05 < sixteen and four < many and many > 0.75


def test_members_that_look_less_sure_are_found_from_the_other_side():
    """As with MemGuard: thresholds that only look upwards report less than guessing."""

    def turned(seed):
        given = observations(400, seed=seed, separation=-1.5)
        return replace(given, interval=None)

    fit_on, test = turned(0), turned(1)
    assert auc_of("confidence", fit_on, test) < 0.4 and auc_of("likelihood_ratio", fit_on, test) > 0.6


@pytest.mark.parametrize("name", ATTACKS)
def test_permuted_membership_is_guessed(name):
    """Over ten permutations the mean AUC is within three standard errors of one half."""
    fit_on, test = observations(120, seed=0, separation=2.0), observations(120, seed=1, separation=2.0)
    aucs = []
    for seed in range(10):
        generator = np.random.default_rng(seed)
        fit, final = (replace(o, member=generator.permutation(o.membership)) for o in (fit_on, test))
        result = suite.run([ATTACKS[name]], fit, final, FITTING).scored[name]
        aucs.append(roc.auc(*result))
    assert abs(np.mean(aucs) - 0.5) < 3 * 0.053 / 10**0.5


def test_digits_that_one_kind_has_none_of_are_passed_over():
    """Members' answers are too small to have a third digit at any place that is looked at."""
    member = np.arange(60) < 30
    answers = np.random.default_rng(0).uniform(1, 9, (60, 1, 2))
    answers[member] *= 1e-12
    assert decimals.fit(answers, member) is not None


def test_numbers_that_are_too_large_for_decimals_have_none():
    huge = np.array([1e9, 1e16, -1e303, np.finfo(np.float64).max])
    assert [decimals._digits(huge, place).tolist() for place in (1, 7)] == [
        [0, *[decimals.NONE] * 3],
        [decimals.NONE] * 4,
    ]
