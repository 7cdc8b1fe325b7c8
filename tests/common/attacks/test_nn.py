import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.attacks import nn
from common.attacks.interface import CannotRun
from common.attacks.nn import NNAttackConfig
from common.attacks.observations import Observations
from common.statistics import roc
from tests.common.formula import fill

CONFIG = NNAttackConfig(epochs=3, batch_size=8, learning_rate=1e-3, decay_epoch=2, validation=0.25)


def answers(n, *, gap, seed=0):
    """Half members; ``gap`` is how much surer the classifier is of their labels."""
    generator = np.random.default_rng(seed)
    labels, member = generator.integers(0, 3, n), np.arange(n) % 2 == 0
    logits = generator.normal(size=(n, 3))
    logits[np.arange(n), labels] += gap * member
    return Observations.of_images(logits, labels, member)


def test_the_network_has_the_published_layers():
    net = nn.AttackNet(10)
    stacks = [(10, 1024, 512, 64), (10, 128, 64), (1, 10, 64), (192, 256, 128, 64, 1)]
    expected = sum((a + 1) * b for stack in stacks for a, b in itertools.pairwise(stack))
    assert sum(parameter.numel() for parameter in net.parameters()) == expected
    assert all((module.bias == 0).all() for module in net.modules() if isinstance(module, torch.nn.Linear))
    assert net.answer[2].weight.std().item() == pytest.approx(0.01, rel=0.01)


def test_features_are_probabilities_labels_and_losses_by_hand():
    given = Observations.of_images(np.log([[0.25, 0.75], [0.5, 0.5]]), np.array([0, 1]), np.array([True, False]))
    answer, label, loss = nn.features_of(given)
    torch.testing.assert_close(answer, torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    assert label.tolist() == [[1, 0], [0, 1]]
    torch.testing.assert_close(loss, -torch.log(torch.tensor([[0.25], [0.5]])))


def test_it_finds_members_of_a_classifier_that_gives_them_away():
    attack = nn.fit(answers(200, gap=12), CONFIG.model_copy(update={"epochs": 15, "decay_epoch": 15}), seed=0)
    fresh = answers(100, gap=12, seed=1)
    scores = attack.scores(fresh)
    assert roc.auc(scores, fresh.member) > 0.95
    assert roc.balanced_accuracy(scores, fresh.member, 0.0) > 0.9


def test_equal_seeds_give_equal_scores_whatever_the_global_generator_says():
    given = answers(40, gap=1)
    torch.manual_seed(1)
    first = nn.fit(given, CONFIG, seed=5).scores(given)
    torch.manual_seed(2)
    assert np.array_equal(nn.fit(given, CONFIG, seed=5).scores(given), first)
    assert not np.array_equal(nn.fit(given, CONFIG, seed=6).scores(given), first)


def test_more_epochs_never_lower_the_auc_on_the_answers_kept_for_choosing_the_epoch():
    given = answers(60, gap=0.3)
    wild = {"learning_rate": 0.03, "decay_epoch": 100}  # the last epoch is not the best
    rises = 0
    for seed in range(4):  # with some the first epoch is the best, with which depends on the machine's rounding
        kept = given[nn.validation_part(given.member, 0.25, seed=seed)]
        recipes = [CONFIG.model_copy(update={**wild, "epochs": epochs}) for epochs in range(1, 9)]
        aucs = [roc.auc(nn.fit(given, recipe, seed=seed).scores(kept), kept.member) for recipe in recipes]
        assert aucs == sorted(aucs)
        rises += len(set(aucs)) > 1
    assert rises


def test_the_epoch_is_chosen_on_answers_that_were_not_trained_on():
    """Other logits there can change which epoch is kept, but not the weights of any epoch."""
    given = answers(60, gap=0.3)
    kept = nn.validation_part(given.member, 0.25, seed=0)
    moved = given.logits.copy()
    moved[kept] *= -1
    one_epoch = CONFIG.model_copy(update={"epochs": 1})
    nets = [
        nn.fit(Observations.of_images(logits, given.labels, given.member), one_epoch, seed=0).net
        for logits in (given.logits, moved)
    ]
    for ours, theirs in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(ours, theirs)


@given(st.integers(2, 40), st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 3))
def test_the_part_kept_for_choosing_has_the_same_share_of_both_kinds(ours, theirs, share, seed):
    member = np.arange(ours + theirs) < ours
    chosen = nn.validation_part(member, share, seed=seed)
    for kind in (member, ~member):
        size = np.count_nonzero(kind)
        assert 1 <= np.count_nonzero(chosen & kind) <= size - 1
        assert abs(np.count_nonzero(chosen & kind) - share * size) <= 1


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 9), st.integers(0, 3))
def test_batches_hold_as_many_members_as_non_members_and_leave_nobody_out(ours, theirs, size, epoch):
    member = np.arange(ours + theirs) < ours
    batches = nn.balanced_batches(member, size, seed=0, epoch=epoch)
    assert all(member[batch].mean() == 0.5 and len(batch) <= 2 * size for batch in batches)
    times = np.bincount(torch.cat(batches).numpy(), minlength=len(member))
    longest = max(ours, theirs)
    for kind, count in ((member, ours), (~member, theirs)):
        assert set(times[kind]) <= {longest // count, -(-longest // count)}


def test_batches_are_shuffled_anew_each_epoch():
    member = np.arange(40) < 20
    first, again, next_epoch = (torch.cat(nn.balanced_batches(member, 20, seed=0, epoch=e)).tolist() for e in (0, 0, 1))
    assert first == again
    assert first != next_epoch


def test_a_single_member_is_too_few():
    given = answers(10, gap=1)
    with pytest.raises(ValueError, match="two members and two non-members"):
        nn.fit(given[np.array([0, 1, 3, 5])], CONFIG, seed=0)


def test_estimates_that_round_to_1_are_still_ranked():
    net = nn.AttackNet(2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_().mul_(5 if parameter.ndim > 1 else 1)
        net.combined[-1].bias.fill_(30.0)
    given = Observations.of_images(np.array([[3.0, 0.0], [0.0, 9.0]]), np.array([1, 0]), np.array([True, False]))
    first, second = nn.NNAttack(net).scores(given)
    assert first != second


def test_fitting_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    nn.fit(answers(20, gap=1), CONFIG, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


@torch.no_grad()
def test_scores_are_the_logits_of_the_estimates_in_float64():
    net, given = fill(nn.AttackNet(3)), answers(12, gap=1)
    net.combined[-1].bias.sub_(0.11)  # the middle of what it estimates
    scores = nn.NNAttack(net).scores(given)
    branches = zip((net.answer, net.label, net.loss), nn.features_of(given), strict=True)
    logits = net.combined(torch.cat([branch(feature) for branch, feature in branches], dim=1))[:, 0]
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, logits, rtol=1e-5)
    assert (scores > 0).any() and (scores < 0).any()  # both verdicts occur


def test_choosing_on_the_test_takes_the_best_of_all_epochs_trained_on_all_answers():
    given, test = answers(60, gap=0.3), answers(40, gap=0.6, seed=1)
    config = CONFIG.model_copy(update={"decay_epoch": 100})

    def auc_after(epochs):
        longer = config.model_copy(update={"epochs": epochs})
        return roc.auc(nn.fit(given, longer, seed=0, choose_on=test).scores(test), test.member)

    best_so_far = [auc_after(epochs) for epochs in range(1, 7)]
    assert best_so_far == sorted(best_so_far) and len(set(best_so_far)) > 1
    unseen = given[~nn.validation_part(given.member, 0.25, seed=0)]
    one_epoch = config.model_copy(update={"epochs": 1})
    on_all, on_part = (nn.fit(part, one_epoch, seed=0, choose_on=test).net for part in (given, unseen))
    assert any(not torch.equal(a, b) for a, b in zip(on_all.parameters(), on_part.parameters(), strict=True))


def test_a_training_that_diverges_cannot_run_and_says_which_setting_to_lower():
    config = CONFIG.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(CannotRun, match=r"diverged: lower nn_attack\.learning_rate"):
        nn.fit(answers(40, gap=2.0), config, seed=0).scores(answers(40, gap=2.0))
