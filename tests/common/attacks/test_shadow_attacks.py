"""LiRA and RMIA against closed forms and against loops over samples and models."""

import math
from decimal import Decimal, localcontext
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest

from common.attacks import SHADOW_ATTACKS, lira, lira_ranks, rmia
from common.attacks.interface import CannotRun, Fitting, Needs
from common.attacks.observations import Observations
from common.statistics import roc

NORMAL = NormalDist()


def shadow_settings(*, centre="mean", variance="one"):
    """An evaluation's configuration, of which these attacks see one section."""
    return SimpleNamespace(
        shadows=SimpleNamespace(
            lira=lira.LiraConfig(centre=centre, variance=variance), rmia=rmia.RmiaConfig(gamma=2.0, a=0.3)
        )
    )


FITTING = Fitting(shadow_settings(), 0)
POOLED = FITTING.config.shadows.lira
ONE = Needs(shadows=True)
TWO = Needs({"image": 2}, shadows=True)


def observed(phi, shadow_phi, in_shadow, member):
    """Of two classes, label 0, so that phi of the true label is the first logit less the second."""
    logits = np.stack([phi, np.zeros_like(phi)], axis=-1)
    labels = np.zeros(len(phi), dtype=int)
    return Observations(logits, labels, member, ("image",) * phi.shape[1], shadow_phi=shadow_phi, in_shadow=in_shadow)


def gaussian(*, n, models, queries, gain, seed):
    """A sample's phi is normal round a centre of its own, ``gain`` greater where the model was trained on it."""
    generator = np.random.default_rng(seed)
    centre, sd = generator.normal(0, 5, (n, 1)), 1.7
    member = np.arange(n) < n // 2
    half = np.arange(models)[:, None] < models // 2
    in_shadow = generator.permuted(np.repeat(half, n, axis=1), axis=0)
    phi = centre + sd * (gain * member[:, None] + generator.normal(size=(n, queries)))
    shadow_phi = centre + sd * (gain * in_shadow[:, :, None] + generator.normal(size=(models, n, queries)))
    return observed(phi, shadow_phi, in_shadow, member)


@pytest.mark.parametrize("queries", [1, 2])
@pytest.mark.parametrize("gain", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("variance", ["one", "each"])
def test_lira_has_the_roc_of_two_normal_distributions(queries, gain, variance):
    """A likelihood ratio of known separation d has AUC normal(d / sqrt 2), and TPR normal(d - z) at FPR 1 - normal(z).

    Independent queries add up to a separation of sqrt(queries) times that of one.
    """
    observations = gaussian(n=6000, models=400, queries=queries, gain=gain, seed=queries)
    needs = ONE if queries == 1 else TWO
    config = lira.LiraConfig(centre="mean", variance=variance)
    found = lira.statistic(needs, observations, config, kind="online")
    d = gain * math.sqrt(queries)
    assert roc.auc(found, observations.membership) == pytest.approx(NORMAL.cdf(d / math.sqrt(2)), abs=0.02)
    for fpr in (0.05, 0.2):
        expected = NORMAL.cdf(d + NORMAL.inv_cdf(fpr))
        assert roc.tpr_at_fpr(found, observations.membership, fpr) == pytest.approx(expected, abs=0.045)
    if queries == 1:  # who knows how the others answer loses nothing, where the shift is the same for all
        outside = lira.statistic(needs, observations, config, kind="offline")
        assert roc.auc(outside, observations.membership) == pytest.approx(NORMAL.cdf(d / math.sqrt(2)), abs=0.02)


def small(seed=0, *, n=12, models=8, queries=2):
    return gaussian(n=n, models=models, queries=queries, gain=1.0, seed=seed)


def by_loops(observations, *, kind, centre, variance):
    """LiRA sample by sample and query by query."""
    phi = observations.answers[:, :, 0]
    middle = {"mean": np.mean, "median": np.median}[centre]
    n, queries = phi.shape
    models = range(len(observations.shadow_phi))

    def values(sample, query, seen):
        return [observations.shadow_phi[s, sample, query] for s in models if observations.in_shadow[s, sample] == seen]

    def sd(sample, query, seen):
        chosen = [sample] if variance == "each" else range(n)
        squares = freedom = 0.0
        for other in chosen:
            mine = values(other, query, seen)
            squares += sum((value - middle(mine)) ** 2 for value in mine)
            freedom += len(mine) - 1
        return math.sqrt(squares / freedom)

    scores = []
    for sample in range(n):
        total = 0.0
        for query in range(queries):
            out = NormalDist(middle(values(sample, query, False)), sd(sample, query, False))
            if kind == "offline":
                total -= math.log(1 - out.cdf(phi[sample, query]))
            else:
                inside = NormalDist(middle(values(sample, query, True)), sd(sample, query, True))
                total += math.log(inside.pdf(phi[sample, query])) - math.log(out.pdf(phi[sample, query]))
        scores.append(total)
    return np.array(scores)


@pytest.mark.parametrize("kind", ["online", "offline"])
@pytest.mark.parametrize("centre", ["mean", "median"])
@pytest.mark.parametrize("variance", ["one", "each"])
def test_lira_by_loops(kind, centre, variance):
    observations = small()
    found = lira.statistic(TWO, observations, lira.LiraConfig(centre=centre, variance=variance), kind=kind)
    np.testing.assert_allclose(found, by_loops(observations, kind=kind, centre=centre, variance=variance), rtol=1e-6)


@pytest.mark.parametrize("name", ["lira", "lira_offline"])
def test_lira_takes_centre_and_variance_from_the_settings(name):
    observations = small(queries=1)
    attack, kind = SHADOW_ATTACKS[name], "offline" if name.endswith("offline") else "online"
    for settings in ({"centre": "median", "variance": "each"}, {"centre": "mean", "variance": "one"}):
        fitted = attack.fit(observations, Fitting(shadow_settings(**settings), 0, hindsight_threshold=True))
        found = attack.scores(fitted, observations)
        np.testing.assert_allclose(found, lira.statistic(ONE, observations, lira.LiraConfig(**settings), kind=kind))


def test_averaged_queries_are_one_query():
    many = small(queries=3)
    one = observed(
        many.answers[:, :, 0].mean(axis=1, keepdims=True),
        many.shadow_phi.mean(axis=2, keepdims=True),
        many.in_shadow,
        many.member,
    )
    found = lira.statistic(Needs({"image": 3}, shadows=True), many, POOLED, kind="online", averaged=True)
    np.testing.assert_allclose(found, lira.statistic(ONE, one, POOLED, kind="online"))


def test_lira_does_not_care_what_is_added_to_or_multiplied_with_all_phi():
    """The statistic is of standardised distances; the two log densities' units cancel."""
    first = small(queries=1)
    phi = 3 * first.answers[:, :, 0] - 2
    other = observed(phi, 3 * first.shadow_phi - 2, first.in_shadow, first.member)
    np.testing.assert_allclose(
        lira.statistic(ONE, first, POOLED, kind="online"), lira.statistic(ONE, other, POOLED, kind="online")
    )


def ranks_by_loops(observations):
    """LiRA on ranks, sample by sample and query by query, of equal counts of models in and out."""
    n, queries = observations.answers.shape[:2]
    seen = observations.in_shadow
    models = range(len(seen))

    def score(values, sample):
        below, equal = sum(v < values[sample] for v in values), sum(v == values[sample] for v in values)
        return NORMAL.inv_cdf((below + (equal + 1) / 2 - 0.5) / n)

    total = np.zeros(n)
    for query in range(queries):
        found = [score(observations.answers[:, query, 0], sample) for sample in range(n)]
        known = [[score(observations.shadow_phi[s, :, query], sample) for sample in range(n)] for s in models]
        centre, squares, freedom = {}, {True: 0.0, False: 0.0}, {True: 0, False: 0}
        for kind in (True, False):
            for sample in range(n):
                mine = [known[s][sample] for s in models if seen[s, sample] == kind]
                centre[kind, sample] = np.mean(mine)
                squares[kind] += sum((value - centre[kind, sample]) ** 2 for value in mine)
                freedom[kind] += len(mine) - 1
        variance = (squares[True] / freedom[True] + squares[False] / freedom[False]) / 2
        error = variance * 4 / len(seen)
        shifts = [centre[True, sample] - centre[False, sample] for sample in range(n)]
        mean = sum(shifts) / n
        spread = max(0.0, sum((shift - mean) ** 2 for shift in shifts) / n - error)
        for sample in range(n):
            shift = (spread * shifts[sample] + error * mean) / (spread + error)
            middle = (centre[True, sample] + centre[False, sample]) / 2
            total[sample] += (found[sample] - middle) * shift / variance
    return total


@pytest.mark.parametrize("queries", [1, 2])
def test_lira_on_ranks_by_loops(queries):
    observations = small(seed=3, n=14, models=6, queries=queries)
    found = lira_ranks.statistic(ONE if queries == 1 else TWO, observations)
    np.testing.assert_allclose(found, ranks_by_loops(observations), rtol=1e-6)


def test_ranks_do_not_care_how_sure_a_model_is_of_everything():
    """Each model's phi goes through an increasing function of its own: the ranks say the same, LiRA knows less."""
    first = gaussian(n=400, models=32, queries=1, gain=2.0, seed=5)
    scale, shift = np.random.default_rng(0).uniform(0.2, 3, 32), np.random.default_rng(1).normal(0, 20, 32)
    other = observed(
        first.answers[:, :, 0] ** 3,
        first.shadow_phi * scale[:, None, None] + shift[:, None, None],
        first.in_shadow,
        first.member,
    )
    found = lira_ranks.statistic(ONE, first)
    np.testing.assert_allclose(found, lira_ranks.statistic(ONE, other))
    assert (
        roc.auc(found, first.member) > 0.85 > roc.auc(lira.statistic(ONE, other, POOLED, kind="online"), first.member)
    )


def test_shifts_are_drawn_to_their_mean_by_as_much_as_they_are_noise():
    """Where all shifts are one number measured with error, that number is left; where they have none, they stay."""
    generator = np.random.default_rng(0)
    alike = 1.5 + generator.normal(0, 0.7, (4000, 1))
    assert np.abs(lira_ranks.shrunk(alike, np.full_like(alike, 0.49)) - 1.5).max() < 0.25
    np.testing.assert_allclose(lira_ranks.shrunk(alike, np.zeros_like(alike)), alike, rtol=1e-9)


def rmia_by_loops(fit_on, test, *, kind, threshold, a=0.3, gamma=2.0):
    """How far each ratio lies above the one that is the threshold."""

    def ratio(observations, sample):
        chosen = [
            1 / (1 + math.exp(-observations.shadow_phi[s, sample, 0]))
            for s in range(len(observations.shadow_phi))
            if kind == "online" or not observations.in_shadow[s, sample]
        ]
        mean = sum(chosen) / len(chosen)
        if kind == "offline":
            mean = ((1 + a) * mean + (1 - a)) / 2
        return 1 / (1 + math.exp(-observations.answers[sample, 0, 0])) / mean

    others = [ratio(fit_on, z) for z in range(len(fit_on)) if not fit_on.member[z]]

    def share(own):
        return (sum(own / z >= gamma for z in others) + own / (1 + own)) / (len(others) + 1)

    return [share(ratio(test, x)) - share(threshold) for x in range(len(test))]


@pytest.mark.parametrize(("name", "kind"), [("rmia", "online"), ("rmia_offline", "offline")])
def test_rmia_by_loops(name, kind):
    fit_on, test = small(1, n=40, queries=1), small(2, n=30, queries=1)
    attack = SHADOW_ATTACKS[name]
    known = attack.fit(fit_on, FITTING)
    found = attack.scores(known, test)
    expected = rmia_by_loops(fit_on, test, kind=kind, threshold=math.exp(known.threshold))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert min(expected) < 0 < max(expected) < min(expected) + 1


@pytest.mark.parametrize("kind", ["online", "offline"])
@pytest.mark.parametrize("level", [-50, 0, 10, 40, 300])
def test_log_ratios_are_exact_however_sure_models_are(kind, level):
    first = small(4, queries=1)
    phi, shadow_phi = first.answers[:, :, 0] + level, first.shadow_phi + level
    given = observed(phi, shadow_phi, first.in_shadow, first.member)
    found = rmia.log_ratios(ONE, given, kind=kind, a=0.3)
    with localcontext(prec=400):
        a = Decimal("0.3")
        for sample in range(len(given)):
            said = zip(shadow_phi[:, sample, 0], first.in_shadow[:, sample], strict=True)
            chosen = [1 / (1 + Decimal(-value).exp()) for value, seen in said if kind == "online" or not seen]
            mean = sum(chosen) / len(chosen)
            if kind == "offline":
                mean = ((1 + a) * mean + (1 - a)) / 2
            exact = (1 / (1 + Decimal(-phi[sample, 0]).exp()) / mean).ln()
            assert found[sample] == pytest.approx(float(exact), rel=1e-9, abs=0)


def test_a_ratio_of_exactly_gamma_counts():
    found = rmia.beaten(np.array([0.0, 1.0]), np.array([1.0, 1.5, 2.0]), -math.inf, gamma=math.e)
    assert np.floor(3 * found).tolist() == [1, 1, 2]


def test_of_samples_that_beat_as_many_the_greater_ratio_is_more_like_a_member():
    """Where models are sure, no ratio is gamma times another, and the counts alone would tell nothing."""
    ratios = np.linspace(-0.3, 0.3, 20)
    found = rmia.beaten(np.sort(ratios), ratios, -math.inf, gamma=2.0)
    assert (np.diff(found) > 0).all() and (found >= 0).all() and (found < 1).all()


@pytest.mark.parametrize(("name", "kind"), [("rmia", "online"), ("rmia_offline", "offline")])
def test_rmia_ranks_by_the_ratio_however_near_to_1_all_ratios_are(name, kind):
    sure = gaussian(n=400, models=16, queries=1, gain=1.0, seed=6)
    sure = observed(sure.answers[:, :, 0] + 60, sure.shadow_phi + 60, sure.in_shadow, sure.member)
    attack, ratios = SHADOW_ATTACKS[name], rmia.log_ratios(ONE, sure, kind=kind, a=0.3)
    known = attack.fit(sure, FITTING)
    found = attack.scores(known, sure)
    assert np.abs(ratios).max() < 1e-12
    assert roc.auc(found, sure.member) == pytest.approx(roc.auc(ratios, sure.member), abs=1e-3)
    assert np.array_equal(found >= 0, ratios >= known.threshold)


def test_too_few_models_are_named():
    lonely = small()
    never = observed(lonely.answers[:, :, 0], lonely.shadow_phi, np.zeros_like(lonely.in_shadow), lonely.member)
    with pytest.raises(CannotRun, match="at least two shadow models of each kind"):
        lira.statistic(TWO, never, POOLED, kind="online")
    assert np.isfinite(lira.statistic(TWO, never, POOLED, kind="offline")).all()
    always = observed(lonely.answers[:, :, 0], lonely.shadow_phi, np.ones_like(lonely.in_shadow), lonely.member)
    with pytest.raises(CannotRun, match="that was not trained on it"):
        rmia.log_ratios(TWO, always, kind="offline", a=0.3)


def test_models_that_all_answer_alike_give_finite_scores():
    alike = small(queries=1)
    same = observed(alike.answers[:, :, 0], np.zeros_like(alike.shadow_phi), alike.in_shadow, alike.member)
    assert np.isfinite(lira.statistic(ONE, same, POOLED, kind="online")).all()
