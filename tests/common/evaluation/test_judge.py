"""Both protocols against a slow evaluation (slow.py): plain loops, no function of the project's but the search of the
interval and the fit of the NN attack."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy.stats import norm

from common.attacks import ATTACKS, nn, suite
from common.attacks.interface import Fitting, Needs
from common.attacks.observations import Observations
from common.attacks.suite import Scored
from common.diffence import Candidates, Interval
from common.evaluation.judge import Judged, judge
from common.evaluation.protocols import HELD_OUT, PUBLISHED, Protocol
from common.evaluation.record import Difference
from common.statistics.bootstrap import Bootstrap
from tests.common.evaluation.slow import (
    CONFIG,
    ONCE,
    PARTITION,
    probabilities,
    published_sets,
    run,
    slow_auc,
    slow_measures,
    slow_scores,
    slow_set,
)


def row_of(measured):
    return measured.auc, measured.balanced_accuracy, measured.tpr_at_fpr["0.001"], measured.tnr_at_fnr["0.001"]


def test_the_published_protocol_is_that_of_the_facts_to_ten_digits():
    drawn, pair, _ = run(PUBLISHED)
    known, target = published_sets()
    for verdict, interval in ((pair.without, None), (pair.fenced, drawn.rule)):
        merged = [*slow_set(*known, interval), *slow_set(*target, interval)]
        assert list(verdict.attacks) == ["confidence", "loss", "entropy", "modified_entropy", "nn"]
        for name in list(verdict.attacks)[:4]:
            scores = [(slow_scores(z, y)[name], member) for z, y, member in merged]
            np.testing.assert_allclose(verdict.attacks[name].scored.scores, [s for s, _ in scores], atol=1e-10, rtol=0)
            expected = slow_measures([s for s, m in scores if m], [s for s, m in scores if not m])
            np.testing.assert_allclose(row_of(verdict.attacks[name].measured), expected, atol=1e-10, rtol=0)
        rows = [judged.measured for judged in verdict.attacks.values()]
        assert verdict.best.auc == max(row.auc for row in rows)
        assert verdict.best.balanced_accuracy == max(row.balanced_accuracy for row in rows)
        assert verdict.attacks[verdict.best.attack].measured.auc == verdict.best.auc


def as_observations(rows):
    logits, labels, member = zip(*rows, strict=True)
    return Observations.of_images(np.array(logits, dtype=np.float64), np.array(labels), np.array(member))


def test_the_published_nn_attack_trains_on_the_known_sets_and_is_judged_on_the_targets():
    _, pair, _ = run(PUBLISHED)
    known, target = (as_observations(slow_set(*part, None)) for part in published_sets())
    expected = nn.fit(known, CONFIG.nn_attack, seed=3, choose_on=target).scores(target)
    judged = pair.without.attacks["nn"]
    np.testing.assert_allclose(judged.scored.scores, expected, atol=1e-10)
    ours, theirs = expected[target.member], expected[~target.member]
    np.testing.assert_allclose(row_of(judged.measured), slow_measures(ours, theirs), atol=1e-10)


def test_published_accuracy_is_that_of_the_first_of_each_list():
    _, pair, _ = run(PUBLISHED)
    rows = slow_set(PARTITION.members[:12], PARTITION.test_order[:12], None)
    for verdict in (pair.without, pair.fenced):  # the fence keeps every label
        for name, kind in (("train", True), ("test", False)):
            right = [int(np.argmax(z)) == y for z, y, member in rows if member == kind]
            assert verdict.accuracy[name] == pytest.approx(np.mean(right))


def test_an_answer_of_probability_0_for_the_true_label_is_the_least_like_a_member():
    """The published code gives it the score of the most certain member."""
    logits = np.array([[800.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    observed = Observations.of_images(logits, np.array([1, 0, 1]), np.array([False, True, True]))
    attacks = [ATTACKS[name] for name in ("loss", "confidence")]
    result = suite.run(attacks, observed, observed, Fitting(CONFIG, 0, hindsight_threshold=True))
    assert probabilities(logits[0])[1] == 0 and len(result.scored) == 2
    for scores, _ in result.scored.values():
        assert scores.argmin() == 0


def test_the_held_out_protocol_scores_the_final_test_alone_at_thresholds_fitted_before():
    drawn, pair, _ = run(ONCE)
    roles = PARTITION.roles(12)
    rows = slow_set(roles["final_test"].members, roles["final_test"].non_members, drawn.rule)
    fit_rows = slow_set(roles["attack_fit"].members, roles["attack_fit"].non_members, drawn.rule)
    assert list(pair.fenced.attacks) == list(ONCE.chosen)
    fitted = [(slow_scores(z, y)["entropy"], member) for z, y, member in fit_rows]
    ours, theirs = ([s for s, m in fitted if m == kind] for kind in (True, False))
    gains = {cut: np.mean([s >= cut for s in ours]) - np.mean([s >= cut for s in theirs]) for cut in [*ours, *theirs]}
    cut = max(gains, key=lambda c: (round(gains[c], 9), c))
    scores = [(slow_scores(z, y)["entropy"], member) for z, y, member in rows]
    ours, theirs = ([s for s, m in scores if m == kind] for kind in (True, False))
    row = pair.fenced.attacks["entropy"].measured
    assert row.auc == pytest.approx(slow_auc(ours, theirs), abs=1e-10)
    accuracy = (np.mean([s >= cut - 1e-12 for s in ours]) + np.mean([s < cut - 1e-12 for s in theirs])) / 2
    assert row.balanced_accuracy == pytest.approx(accuracy, abs=1e-10)


def test_the_cost_is_that_of_the_judged_samples_and_the_classifier_alone_has_none():
    drawn, pair, _ = run(ONCE)
    final = drawn.roles["final_test"]
    assert pair.without.reconstructions_per_query == 0
    assert pair.fenced.reconstructions_per_query == final.reconstructions_per_query(drawn.rule) > 1
    assert pair.without.interval is None and pair.fenced.interval == drawn.rule


@pytest.mark.parametrize("protocol", [ONCE, PUBLISHED], ids=lambda protocol: protocol.name)
def test_the_reduction_is_a_share_of_what_there_was_with_the_spread_of_the_resamples(protocol):
    _, pair, _ = run(protocol)
    without, fenced = pair.without, pair.fenced
    for name, before, after in (
        ("auc", without.greatest_aucs, fenced.greatest_aucs),
        ("balanced_accuracy", without.greatest_accuracies, fenced.greatest_accuracies),
    ):
        assert len(before) == 100
        row = getattr(pair.reduction, name)
        was, now = getattr(without.best, name), getattr(fenced.best, name)
        assert row.relative == pytest.approx((was - now) / was)
        shares = [(b - a) / b for a, b in zip(after, before, strict=True)]
        assert row.standard_error == pytest.approx(np.std(shares, ddof=1))


def test_the_best_is_a_maximum_in_every_resample_and_says_by_how_much_that_is_too_great():
    _, pair, _ = run(ONCE)
    best, rows = pair.without.best, [judged.aucs for judged in pair.without.attacks.values()]
    maxima = [max(resample) for resample in zip(*rows, strict=True)]
    assert best.auc_ci == pytest.approx(np.quantile(maxima, [0.025, 0.975]))
    assert best.selection_bias == pytest.approx(np.mean(maxima) - best.auc)


def test_pairs_of_verdicts_share_their_resamples():
    """Where every reconstruction is answered as the raw image there is no difference, so its interval has no width."""
    drawn, _, _ = run(PUBLISHED)
    alike = {name: all_as_raw(role) for name, role in drawn.roles.items()}
    pair = judge(replace(drawn, rule=Interval(-1e9, 1e9), roles=alike), CONFIG, seed=3)
    for name in pair.without.attacks:
        assert pair.auc_difference(name) == Difference(value=0.0, interval=[0.0, 0.0])
    assert str(pair.best_difference()) == "+0.000 [+0.000, +0.000]"


def all_as_raw(role):
    logits = role.candidates.logits
    return replace(role, candidates=Candidates(logits[:, -1:].expand_as(logits), role.candidates.drawn))


def test_rates_are_below_the_limit_as_published_and_at_most_the_limit_where_held_out():
    """One false positive among 1,000 non-members is an FPR of exactly 0.1 %, and the other way round for the FNR."""
    scores = np.concatenate([np.full(999, 5.0), [0.0], [6.0], np.full(999, 1.0)])
    member = np.arange(2000) < 1000
    once = Bootstrap.once(member)
    for protocol, expected in ((HELD_OUT, 0.999), (PUBLISHED, 0.0)):
        row = Judged(protocol, Scored(scores, member), once).measured
        assert row.tpr_at_fpr["0.001"] == row.tnr_at_fnr["0.001"] == expected
        assert row.tpr_points["0.001"].resolved is not protocol.strict_rates  # below 1 in 1,000 none is allowed


def test_intervals_of_rates_allow_for_the_threshold_that_was_found_among_the_same_samples():
    """True rates are those of normal scores; the exact interval alone holds them in some 70 of 100 cases."""
    member = np.repeat([True, False], 500)
    true, held = norm.sf(norm.isf(0.01) - 1), 0
    for seed in range(30):
        scores = np.random.default_rng(seed).normal(1.0 * member)
        resamples = Bootstrap.draw(member, resamples=200, seed=seed)
        row = Judged(HELD_OUT, Scored(scores, member), resamples).measured
        turned = Judged(HELD_OUT, Scored(-scores, ~member), Bootstrap(*reversed(astuple(resamples)))).measured
        least, most = row.tpr_points["0.01"].interval
        held += least <= true <= most
        assert turned.tnr_points["0.001"].interval == row.tpr_points["0.001"].interval
    assert held >= 27


def test_every_attack_has_the_resamples_of_the_samples_it_is_judged_on():
    _, pair, _ = run(PUBLISHED)
    member = np.arange(24) < 12
    known, target = (Bootstrap.draw(member, resamples=100, seed=3, name=name) for name in (("fitting",), ()))
    counts = {"nn": target.member_counts, "loss": np.hstack([known.member_counts, target.member_counts])}
    for name, expected in counts.items():
        for verdict in (pair.without, pair.fenced):
            assert np.array_equal(verdict.attacks[name].bootstrap.member_counts, expected)


def test_an_attack_that_scores_some_samples_shares_the_resamples_of_all():
    drawn, _, _ = run(ONCE)
    member = drawn.roles["final_test"].member
    said = np.ones(len(member), dtype=bool)
    said[[1, -1]] = False

    class OfSome(Protocol):
        attacks = (
            replace(ATTACKS["loss"], scores=lambda *given: np.where(said, ATTACKS["loss"].scores(*given), np.nan)),
        )

    pair = judge(replace(drawn, protocol=OfSome("held_out", chooses=False)), CONFIG, seed=3)
    found, drawn_there = (
        pair.without.attacks["loss"].bootstrap.member_counts,
        pair.bootstrap.member_counts[:, said[member]],
    )
    assert found.shape == (CONFIG.bootstrap, (said & member).sum())
    np.testing.assert_allclose(found / found.shape[1], drawn_there / drawn_there.sum(axis=1, keepdims=True))


class TwoAttacks(Protocol):
    """The loss, and an attack that needs shadow models, which there are none of."""

    attacks = (replace(ATTACKS["confidence"], name="shadowy", needs=Needs(shadows=True)), ATTACKS["loss"])


def test_an_attack_that_could_not_run_is_in_the_verdict_with_its_reason():
    drawn, _, _ = run(ONCE)
    pair = judge(replace(drawn, protocol=TwoAttacks("held_out", chosen=tuple(ATTACKS))), CONFIG, seed=3)
    for verdict in (pair.without, pair.fenced):
        assert list(verdict.attacks) == ["loss"] and verdict.not_run.keys() == {"shadowy"}
        assert "shadow models" in verdict.not_run["shadowy"]
    assert pair.auc_difference("shadowy") is None
