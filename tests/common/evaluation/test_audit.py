"""An audit by answers: it equals what the pieces give by hand, and knows nothing where there is nothing to know."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.attacks import ATTACKS, SHADOW_ATTACKS
from common.attacks.statistics import phi_of
from common.audit import audit
from common.evaluation.audit import split
from common.evaluation.outputs import logits_of

FAST = {"bootstrap": 100, "nn_attack.epochs": 2, "nn_attack.decay_epoch": 1}
K = 5


def answers(n=400, *, gap=2.0, seed=0, shadows=0):
    """Logits of a classifier surer of its members, labels, membership; and of shadow models, with who was in each."""
    rng = np.random.default_rng(seed)
    labels, member = rng.integers(0, K, n), np.arange(n) % 2 == 0
    hardness = rng.normal(size=n) * 2

    def of(inside):
        logits = rng.normal(size=(n, K))
        logits[np.arange(n), labels] += 1 + hardness + gap * inside
        return logits

    in_shadow = rng.random((shadows, n)) < 0.5
    return of(member), labels, member, np.array([of(inside) for inside in in_shadow]), in_shadow


def test_the_auc_is_that_of_the_scores_on_the_samples_that_nothing_was_fitted_on():
    logits, labels, member, *_ = answers()
    fitting = np.arange(400) < 200
    report = audit(logits, labels, member, fitting=fitting, attacks=["loss", "correctness"], changes=FAST)
    rows = report.protocols["held_out"].attacks
    judged = ~fitting
    by_hand = roc_auc_score(member[judged], phi_of(logits, labels)[judged])
    assert rows["loss"].auc == pytest.approx(by_hand, abs=1e-12) and rows.keys() == {"loss", "correctness"}
    right = logits.argmax(axis=1) == labels
    assert report.accuracy.train == right[judged & member].mean()
    assert report.accuracy.test == right[judged & ~member].mean()
    assert (report.counts["final_test"].members, report.counts["attack_fit"].non_members) == (100, 100)


def test_probabilities_give_what_their_logits_give():
    logits, labels, member, *_ = answers()
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    of_both = [
        audit(each, labels, member, attacks=["loss", "entropy"], changes=FAST) for each in (logits, probabilities)
    ]
    aucs = [[row.auc for row in report.protocols["held_out"].attacks.values()] for report in of_both]
    assert aucs[0] == pytest.approx(aucs[1], abs=1e-12)
    assert [report.outputs for report in of_both] == ["logits", "probabilities"]


def test_where_members_are_answered_like_others_no_interval_leaves_guessing_out():
    logits, labels, member, *_ = answers(gap=0.0, seed=3)
    rows = audit(logits, labels, member, changes=FAST).protocols["held_out"].attacks
    assert len(rows) >= 10 and all(row.auc_ci[0] < 0.5 < row.auc_ci[1] for row in rows.values())


def test_shadow_models_find_what_a_threshold_cannot():
    logits, labels, member, of_shadows, in_shadow = answers(shadows=16)
    with_them = audit(logits, labels, member, shadow_answers=of_shadows, in_shadow=in_shadow, changes=FAST)
    part = with_them.protocols["held_out"]
    ran = set(part.attacks) & set(SHADOW_ATTACKS)
    assert ran == {"lira", "lira_offline", "lira_ranks", "rmia", "rmia_offline"}
    assert part.attacks["lira"].auc > part.attacks["loss"].auc + 0.05
    with pytest.raises(ValueError, match=r"shadow_answers \(16, 400, 4\)"):
        audit(logits, labels, member, shadow_answers=of_shadows[..., :4], in_shadow=in_shadow)


def test_all_attacks_ran_or_have_a_reason():
    logits, labels, member, *_ = answers(80)
    part = audit(logits, labels, member, changes=FAST).protocols["held_out"]
    assert part.attacks.keys() | part.not_run.keys() == set(ATTACKS) - {"work", "edges"}  # which look at a fence
    assert part.not_run["shifted_copies"].startswith("needs 4 queries")


def test_attacks_that_cannot_run_are_told_and_are_an_error_where_no_other_does():
    logits, labels, member, *_ = answers(80)
    part = audit(logits, labels, member, attacks=["loss", "work"], changes=FAST).protocols["held_out"]
    assert part.attacks.keys() == {"loss"} and "there is none" in part.not_run["work"]
    with pytest.raises(ValueError, match=r"edges: looks at .*; shifted_copies: needs 4"):
        audit(logits, labels, member, attacks=["edges", "shifted_copies"], changes=FAST)


def test_parts_are_disjoint_drawn_by_the_seed_and_never_too_small():
    member = np.arange(100) < 30
    first, again, other = (split(member, None, num_sample=10, seed=seed) for seed in (0, 0, 1))
    fit, test = first["attack_fit"], first["final_test"]
    assert not set(fit) & set(test) and len(fit) == len(test) == 20 and member[fit[:10]].all()
    assert all(np.array_equal(first[role], again[role]) for role in first)
    assert not np.array_equal(fit, other["attack_fit"])
    with pytest.raises(ValueError, match="1 members to fit attacks on"):
        split(np.arange(10) < 3, None, num_sample=10, seed=0)


@pytest.mark.parametrize(
    ("rows", "outputs", "says"),
    [
        ([[0.2, 0.9], [0.8, 0.7]], None, "Say which they are"),  # sigmoids
        ([[0.2, 0.8], [0.5, 0.5]], "logits", "said to be logits"),
        ([[1.0, -2.0]], "probabilities", "said to be probabilities"),
        ([[0.2, 0.2], [0.5, 0.5]], "probabilities", "said to be probabilities"),
        ([[np.nan, 1.0]], None, "NaN"),
        ([[1, 2]], None, "floating"),
    ],
)
def test_what_could_be_both_or_neither_is_refused(rows, outputs, says):
    with pytest.raises(ValueError, match=says):
        logits_of(np.array(rows), outputs)


def test_rounded_probabilities_are_taken_where_they_are_said_to_be():
    rows = np.array([[0.98, 0.01, 0.0], [0.33, 0.33, 0.33], [1.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="Say which"):
        logits_of(rows, None)
    found = logits_of(rows, "probabilities")
    assert np.exp(found.values[1]) == pytest.approx([1 / 3] * 3)
    assert np.exp(found.values[2, 1]) < np.exp(found.values[0, 1])  # a zero is less than the least there is
    assert any("are 0" in note for note in found.notes) and any("exactly" in note for note in found.notes)
