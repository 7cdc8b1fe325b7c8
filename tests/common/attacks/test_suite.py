from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from common.attacks import ATTACKS, nn, suite
from common.attacks.interface import Attack, Fitting, Needs
from common.attacks.nn import NNAttackConfig
from common.attacks.observations import Observations
from tests.common.attacks.full import observations

CONFIG = NNAttackConfig(epochs=1, batch_size=16, learning_rate=1e-3, decay_epoch=1, validation=0.25)
FITTING = Fitting(SimpleNamespace(nn_attack=CONFIG), 3)


FIT_ON, TEST = observations(48, seed=0), observations(30, seed=1)


def run(*names, fitting=FITTING, **options):
    attacks = [ATTACKS[name] for name in names] if names else ATTACKS.values()
    result = suite.run(attacks, FIT_ON, TEST, fitting, **options)
    assert not result.not_run
    return result.scored


@pytest.fixture(scope="module")
def result():
    return run()


def test_every_attack_scores_every_test_answer(result):
    assert list(result) == list(ATTACKS)
    for scores, member in result.values():
        assert scores.shape == (len(TEST),) and np.isfinite(scores).all()
        assert np.array_equal(member, TEST.member)


def test_every_attack_has_the_name_of_its_place_and_a_source():
    for name, attack in ATTACKS.items():
        assert attack.name == name and attack.source


def test_the_attacks_of_the_published_evaluation_are_its_six():
    published = [name for name, attack in ATTACKS.items() if attack.published]
    assert published == ["confidence", "loss", "entropy", "modified_entropy", "nn"]


def test_scores_are_those_of_each_attack_fitted_on_the_whole_fitting_role(result):
    per_class = ATTACKS["confidence_per_class"]
    assert np.array_equal(result["confidence_per_class"].scores, per_class.scores(per_class.fit(FIT_ON, FITTING), TEST))
    assert np.array_equal(result["nn"].scores, nn.fit(FIT_ON, CONFIG, seed=3).scores(TEST))


def test_a_score_belongs_to_its_answer_and_not_to_its_place(result):
    order = np.random.default_rng(0).permutation(len(TEST))
    for name, (scores, _) in suite.run(ATTACKS.values(), FIT_ON, TEST[order], FITTING).scored.items():
        np.testing.assert_allclose(scores, result[name].scores[order], atol=1e-6)


def test_no_attack_looks_at_who_is_a_member_in_the_test(result):
    turned = replace(TEST, member=~TEST.membership)
    for name, (scores, member) in suite.run(ATTACKS.values(), FIT_ON, turned, FITTING).scored.items():
        assert np.array_equal(scores, result[name].scores) and np.array_equal(member, ~TEST.membership)


def test_merged_sets_are_the_fitting_and_the_test_answers_for_threshold_attacks_only():
    names = ("loss", "entropy_per_class", "nn")
    merged, plain = run(*names, merged_sets=True), run(*names)
    assert merged.keys() == plain.keys() == set(names)
    for name in names[:2]:
        scores, member = merged[name]
        assert len(scores) == len(member) == 48 + 30
        assert np.array_equal(scores[48:], plain[name].scores)
        assert np.array_equal(member, np.concatenate([FIT_ON.member, TEST.member]))
    assert np.array_equal(merged["nn"].scores, plain["nn"].scores)


def test_in_hindsight_scores_have_no_threshold_in_them():
    hindsight = run("loss", "entropy_per_class", fitting=replace(FITTING, hindsight_threshold=True))
    assert np.array_equal(hindsight["loss"].scores, ATTACKS["loss"].scores(None, TEST))
    assert np.array_equal(hindsight["entropy_per_class"].scores, run("entropy_per_class")["entropy_per_class"].scores)


def test_the_epoch_can_be_picked_on_the_test_answers():
    config = CONFIG.model_copy(update={"epochs": 3})
    fitting = Fitting(SimpleNamespace(nn_attack=config), 3, choose_on=TEST)
    expected = nn.fit(FIT_ON, config, seed=3, choose_on=TEST).scores(TEST)
    assert np.array_equal(run("nn", fitting=fitting)["nn"].scores, expected)


def attack(needs):
    return Attack(
        "mine", "this test", needs, lambda given, fitting: 0.5, lambda learnt, given: given.logits[:, 0] - learnt
    )


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        (Needs({"image": 16}), "needs 16 queries a sample of the kind 'image', and there are 1"),
        (Needs(shadows=True), "needs shadow models, and there are none"),
    ],
)
def test_an_attack_that_cannot_run_is_listed_with_the_reason(needs, reason):
    found = suite.run([attack(needs), ATTACKS["loss"]], FIT_ON, TEST, FITTING)
    assert found.not_run == {"mine": reason} and list(found.scored) == ["loss"]


def test_an_attack_that_finds_too_little_to_learn_from_is_listed_too():
    few = FIT_ON[np.concatenate([np.flatnonzero(FIT_ON.member)[:1], np.flatnonzero(~FIT_ON.member)])]
    found = suite.run([ATTACKS["nn"], ATTACKS["loss"]], few, TEST, FITTING)
    assert found.not_run == {"nn": "needs at least two members and two non-members to be fitted on"}
    assert list(found.scored) == ["loss"]


@pytest.mark.parametrize("kind", [TEST.membership, ~TEST.membership, np.ones(len(TEST), dtype=bool)])
def test_an_attack_that_has_scores_for_one_kind_alone_is_listed_too(kind):
    silent = replace(attack(Needs()), scores=lambda _, given: np.where(kind, np.nan, 0.0))
    found = suite.run([silent, ATTACKS["loss"]], FIT_ON, TEST, FITTING)
    assert "no score for any member, or for any non-member" in found.not_run["mine"]
    assert list(found.scored) == ["loss"]


def test_an_attack_needs_no_more_than_to_be_named():
    (scored,) = suite.run([attack(Needs())], FIT_ON, TEST, FITTING).scored.values()
    assert np.array_equal(scored.scores, TEST.logits[:, 0] - 0.5)


def test_an_attack_that_needs_more_runs_where_there_is_more():
    several = Observations(
        TEST.answers[:, :2], TEST.labels, TEST.member, ("image", "image"),
        shadow_phi=np.zeros((3, len(TEST), 2)), in_shadow=np.zeros((3, len(TEST)), dtype=bool),
    )  # fmt: skip
    found = suite.run([attack(Needs({"image": 2}, shadows=True))], several, several, FITTING)
    assert list(found.scored) == ["mine"] and not found.not_run
