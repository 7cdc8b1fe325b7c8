"""Both protocols against a slow evaluation written out here: plain loops, no function of the project's but the search
of the interval and the fit of the NN attack."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from common import diffence, protocols
from common.attacks import neural
from common.attacks.answers import Answers
from common.bank import Bank
from common.config import EvaluationConfig, NNAttackConfig
from common.diffence import Interval
from common.partition import Partition, Permutation
from common.protocols import HELD_OUT, PUBLISHED

K, N = 3, 4
CONFIG = EvaluationConfig(
    num_sample=12,
    bootstrap=100,
    nn_attack=NNAttackConfig(epochs=3, batch_size=8, learning_rate=1e-3, decay_epoch=2, validation=0.25),
)
ORDERS = [np.random.default_rng(seed).permutation(size) for seed, size in ((0, 90), (1, 60))]
PARTITION = Partition(
    ORDERS[0][:56], np.arange(0), np.arange(0), ORDERS[1], "", Permutation("digits", ORDERS[0], "seed 0", None)
)


class _Experiment:
    partition = PARTITION


class _Store:
    """Candidates by formula: members are answered more surely; records what it is asked for."""

    experiment = _Experiment()

    def __init__(self):
        self.asked = []

    def bank(self, role, *, until, desc):
        self.asked.append((desc, until))
        return Bank(
            candidates(role.members, gap=2.0),
            candidates(role.non_members + 1000, gap=1.0),
            torch.from_numpy(role.members % K),
            torch.from_numpy(role.non_members % K),
        )


def candidates(indices, *, gap):
    """Each sample's own: float32 [n, N + 1, K], the raw one last and surer than the others."""
    rows = []
    for index in indices:
        logits = np.random.default_rng(index).normal(size=(N + 1, K))
        logits[:, index % 1000 % K] += gap
        logits[-1] *= 2
        rows.append(logits)
    return torch.tensor(np.array(rows), dtype=torch.float32)


def slow_answer(row, interval):
    if interval is None:
        return row[-1]
    label = int(np.argmax(row[-1]))
    keepers = [(phi(z), z) for z in row if int(np.argmax(z)) == label]
    inside = [z for value, z in keepers if interval[0] <= value <= interval[1]]
    middle = (interval[0] + interval[1]) / 2
    return inside[0] if inside else min(keepers, key=lambda keeper: abs(keeper[0] - middle))[1]


def probabilities(z):
    e = [math.exp(float(v) - max(map(float, z))) for v in z]
    return [v / math.fsum(e) for v in e]


def phi(z):
    p = max(probabilities(z))
    return math.log(p) - math.log1p(-p)


def slow_scores(z, y):
    """By attack, as the published evaluation defines them, with higher for members."""
    p = probabilities(z)
    return {
        "confidence": p[y],
        "loss": math.log(p[y]),
        "entropy": math.fsum(q * math.log(q) for q in p),
        "modified_entropy": (1 - p[y]) * math.log(p[y])
        + math.fsum(p[i] * math.log(1 - p[i]) for i in range(len(p)) if i != y),
        "correctness": float(int(np.argmax(z)) == y),
    }


def slow_set(members, non_members, interval):
    """(logits, label, is a member) of every sample of a set of indices."""
    rows = [(z, int(i) % K, True) for i, z in zip(members, candidates(members, gap=2.0).double().numpy(), strict=True)]
    others = candidates(non_members + 1000, gap=1.0).double().numpy()
    rows += [(z, int(i) % K, False) for i, z in zip(non_members, others, strict=True)]
    return [(slow_answer(z, interval), y, member) for z, y, member in rows]


def slow_auc(ours, theirs):
    return math.fsum((a > b) + 0.5 * (a == b) for a in ours for b in theirs) / (len(ours) * len(theirs))


def slow_measures(ours, theirs):
    """AUC, best accuracy in hindsight, TPR at FPR below 0.1 %, TNR at FNR below 0.1 %."""
    cuts = [*ours, *theirs, math.inf]
    rates = [(np.mean([s >= c for s in ours]), np.mean([s >= c for s in theirs])) for c in cuts]
    tpr = max((t for t, f in rates if f < 0.001), default=0)
    tnr = max((1 - f for t, f in rates if 1 - t < 0.001), default=0)
    return slow_auc(ours, theirs), max((t + 1 - f) / 2 for t, f in rates), tpr, tnr


def published_sets():
    """Known and target: the halves of members and of the test set, the first 12 of each."""
    members, test = PARTITION.members, PARTITION.test_order
    return (members[:28][:12], test[:30][:12]), (members[28:][:12], test[30:][:12])


def run(protocol, **options):
    store = _Store()
    drawn = protocols.draw(store, protocol, num_sample=12, scenario=1, desc="x", **options)
    return drawn, protocols.judge(drawn, CONFIG, seed=3), store


def test_the_published_protocol_is_that_of_the_facts_to_ten_digits():
    drawn, pair, _ = run(PUBLISHED)
    known, target = published_sets()
    tuned = diffence.tune_interval(candidates(known[0], gap=2.0), candidates(known[1] + 1000, gap=1.0), scenario=1)
    assert drawn.interval == tuned
    for verdict, interval in ((pair.without, None), (pair.fenced, tuned)):
        merged = [*slow_set(*known, interval), *slow_set(*target, interval)]
        assert list(verdict.attacks) == ["confidence", "loss", "entropy", "modified_entropy", "correctness", "nn"]
        for name in list(verdict.attacks)[:5]:
            scores = [(slow_scores(z, y)[name], member) for z, y, member in merged]
            np.testing.assert_allclose(verdict.attacks[name].scored.scores, [s for s, _ in scores], atol=1e-10, rtol=0)
            expected = slow_measures([s for s, m in scores if m], [s for s, m in scores if not m])
            row = verdict.measurements[name]
            found = row["auc"], row["balanced_accuracy"], row["tpr_at_fpr"]["0.001"], row["tnr_at_fnr"]["0.001"]
            np.testing.assert_allclose(found, expected, atol=1e-10, rtol=0)
        assert verdict.best["auc"] == max(row["auc"] for row in verdict.measurements.values())
        assert verdict.best["balanced_accuracy"] == max(r["balanced_accuracy"] for r in verdict.measurements.values())


def as_answers(rows):
    logits, labels, member = zip(*rows, strict=True)
    return Answers(np.array(logits, dtype=np.float64), np.array(labels), np.array(member))


def test_the_published_nn_attack_trains_on_the_known_sets_and_is_judged_on_the_targets():
    _, pair, _ = run(PUBLISHED)
    known, target = (as_answers(slow_set(*part, None)) for part in published_sets())
    expected = neural.fit(known, CONFIG.nn_attack, seed=3, choose_on=target).scores(target)
    judged = pair.without.attacks["nn"]
    np.testing.assert_allclose(judged.scored.scores, expected, atol=1e-10)
    ours, theirs = expected[target.member], expected[~target.member]
    row = judged.measured
    found = row["auc"], row["balanced_accuracy"], row["tpr_at_fpr"]["0.001"], row["tnr_at_fnr"]["0.001"]
    np.testing.assert_allclose(found, slow_measures(ours, theirs), atol=1e-10)


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
    answers = Answers(logits, np.array([1, 0, 1]), np.array([False, True, True]))
    scored = protocols.suite.run(
        answers, answers, CONFIG.nn_attack, seed=0, names=("loss", "confidence"), hindsight_threshold=True
    )
    assert probabilities(logits[0])[1] == 0
    for scores, _ in scored.values():
        assert scores.argmin() == 0


def test_each_role_is_drawn_once_the_tuning_one_in_full_and_in_one_order():
    drawn, _, store = run(HELD_OUT)
    assert store.asked == [("x, tuning", None), ("x, attack_fit", drawn.interval), ("x, final_test", drawn.interval)]
    drawn, _, store = run(PUBLISHED)
    assert store.asked == [("x, known", None), ("x, target", drawn.interval), ("x, utility", drawn.interval)]
    leaked = replace(HELD_OUT, tuning="final_test")
    assert [desc for desc, _ in run(leaked)[2].asked] == ["x, final_test", "x, attack_fit"]
    assert drawn.counts == {role: {"members": 12, "non_members": 12} for role in ("known", "target", "utility")}


def test_the_held_out_protocol_scores_the_final_test_alone_at_thresholds_fitted_before():
    drawn, pair, _ = run(HELD_OUT)
    roles = PARTITION.roles(12)
    rows = slow_set(roles["final_test"].members, roles["final_test"].non_members, drawn.interval)
    fit_rows = slow_set(roles["attack_fit"].members, roles["attack_fit"].non_members, drawn.interval)
    assert list(pair.fenced.attacks) == list(protocols.suite.ALL)
    fitted = [(slow_scores(z, y)["entropy"], member) for z, y, member in fit_rows]
    ours, theirs = ([s for s, m in fitted if m == kind] for kind in (True, False))
    gains = {cut: np.mean([s >= cut for s in ours]) - np.mean([s >= cut for s in theirs]) for cut in [*ours, *theirs]}
    cut = max(gains, key=lambda c: (round(gains[c], 9), c))
    scores = [(slow_scores(z, y)["entropy"], member) for z, y, member in rows]
    ours, theirs = ([s for s, m in scores if m == kind] for kind in (True, False))
    row = pair.fenced.measurements["entropy"]
    assert row["auc"] == pytest.approx(slow_auc(ours, theirs), abs=1e-10)
    accuracy = (np.mean([s >= cut - 1e-12 for s in ours]) + np.mean([s < cut - 1e-12 for s in theirs])) / 2
    assert row["balanced_accuracy"] == pytest.approx(accuracy, abs=1e-10)


@pytest.mark.parametrize("protocol", [HELD_OUT, PUBLISHED], ids=lambda protocol: protocol.name)
def test_the_reduction_is_a_share_of_what_there_was_with_the_spread_of_the_resamples(protocol):
    _, pair, _ = run(protocol)
    without, fenced = pair.without, pair.fenced
    for name, before, after in (
        ("auc", without.greatest_aucs, fenced.greatest_aucs),
        ("balanced_accuracy", without.greatest_accuracies, fenced.greatest_accuracies),
    ):
        assert len(before) == 100
        row = pair.reduction[name]
        assert row["relative"] == pytest.approx((without.best[name] - fenced.best[name]) / without.best[name])
        shares = [(b - a) / b for a, b in zip(after, before, strict=True)]
        assert row["standard_error"] == pytest.approx(np.std(shares, ddof=1))


def test_pairs_of_verdicts_share_their_resamples():
    """Where every reconstruction is answered as the raw image there is no difference, so its interval has no width."""
    drawn, _, _ = run(PUBLISHED)
    alike = {role: all_as_raw(bank) for role, bank in drawn.banks.items()}
    pair = protocols.judge(replace(drawn, interval=Interval(-1e9, 1e9), banks=alike), CONFIG, seed=3)
    for name in pair.without.attacks:
        assert pair.auc_difference(name) == protocols.Difference(0.0, (0.0, 0.0))
    assert str(pair.best_difference()) == "+0.000 [+0.000, +0.000]"


def all_as_raw(bank):
    members, non_members = (part[:, -1:].expand_as(part) for part in (bank.members, bank.non_members))
    return replace(bank, members=members, non_members=non_members)


def test_rates_are_below_the_limit_as_published_and_at_most_the_limit_where_held_out():
    """One false positive among 1,000 non-members is an FPR of exactly 0.1 %, and the other way round for the FNR."""
    scores = np.concatenate([np.full(999, 5.0), [0.0], [6.0], np.full(999, 1.0)])
    member = np.arange(2000) < 1000
    once = protocols.metrics.Bootstrap.once(member)
    for protocol, expected in ((HELD_OUT, 0.999), (PUBLISHED, 0.0)):
        row = protocols.Judged(protocol, protocols.Scored(scores, member), once).measured
        assert row["tpr_at_fpr"]["0.001"] == row["tnr_at_fnr"]["0.001"] == expected


def test_every_attack_has_the_resamples_of_the_samples_it_is_judged_on():
    _, pair, _ = run(PUBLISHED)
    Bootstrap = protocols.metrics.Bootstrap
    member = np.arange(24) < 12
    known, target = (Bootstrap.draw(member, resamples=100, seed=3, name=name) for name in (("fitting",), ()))
    counts = {"nn": target.member_counts, "loss": np.hstack([known.member_counts, target.member_counts])}
    for name, expected in counts.items():
        for verdict in (pair.without, pair.fenced):
            assert np.array_equal(verdict.attacks[name].bootstrap.member_counts, expected)
