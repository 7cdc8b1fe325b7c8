import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from common.datasets import to_float
from common.defenses import advreg
from common.defenses.advreg import AdvRegConfig, InferenceNet, classifier_loss, in_turn, inference_loss
from common.training import answer
from tests.common.defenses import TRAINING, Silent, generator, make_task


def config(**settings):
    own = {"alpha": 4.0, "inference_batches": 5, "classifier_batches": 2, "inference_learning_rate": 1e-2}
    return AdvRegConfig(**(TRAINING | own | {"first_passes": 2} | settings))


class Sure(nn.Module):
    """Guesses a fixed chance for each label."""

    def forward(self, logits, labels):
        return torch.tensor([0.9, 0.6, 0.2])[labels]


LOGITS = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]]).log()
LABELS = torch.tensor([0, 1])


def test_the_classifier_pays_for_what_gives_members_away():
    expected = -(math.log(0.7) + math.log(0.6)) / 2 + 4 * (0.75 - 0.5)
    assert classifier_loss(LOGITS, LABELS, Sure(), alpha=4.0).item() == pytest.approx(expected)


def test_the_inference_net_pays_the_squared_distance_from_the_truth():
    member, other = (LOGITS, LABELS), (LOGITS[:1], torch.tensor([2]))
    expected = (0.1**2 + 0.4**2 + 0.2**2) / 3
    assert inference_loss(Sure(), member, other).item() == pytest.approx(expected)


def linear_sizes(module):
    return [(part.in_features, part.out_features) for part in module.modules() if isinstance(part, nn.Linear)]


def test_the_inference_net_has_the_published_layers():
    net = InferenceNet(10)
    assert linear_sizes(net.answer) == [(10, 1024), (1024, 512), (512, 64)]
    assert linear_sizes(net.label) == [(10, 128), (128, 64)]
    assert linear_sizes(net.combined) == [(128, 512), (512, 256), (256, 128), (128, 64), (64, 1)]
    assert sum(isinstance(part, nn.ReLU) for part in net.modules()) == 9  # after all layers but the last
    assert all((part.bias == 0).all() for part in net.modules() if isinstance(part, nn.Linear))
    assert net.answer[2].weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_the_inference_net_is_its_two_branches_put_together():
    net = InferenceNet(3)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator())
    hidden = torch.cat([net.answer(LOGITS), net.label(torch.eye(3)[LABELS])], dim=1)
    estimates = net(LOGITS, LABELS)
    torch.testing.assert_close(estimates, 1 / (1 + torch.exp(-net.combined(hidden)[:, 0])))
    assert estimates[0] != estimates[1]
    assert net(LOGITS[:1], torch.tensor([2])) != estimates[0]  # the label counts


@pytest.fixture
def trainer(tmp_path):
    return advreg._Trainer(make_task(tmp_path, config()))


def copies(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_the_inference_nets_steps_leave_the_classifier_alone(trainer):
    trainer._classifier_step(torch.arange(8), alpha=4.0, bar=Silent())
    before, net_before = copies(trainer.classifier), copies(trainer.net)
    gradients = [parameter.grad.clone() for parameter in trainer.classifier.parameters()]
    trainer._inference_steps([8, 8, 8], generator())
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.classifier.state_dict().items())
    after = [parameter.grad for parameter in trainer.classifier.parameters()]
    assert all(torch.equal(now, then) for now, then in zip(after, gradients, strict=True))
    assert not torch.equal(trainer.net.answer[0].weight, net_before["answer.0.weight"])


def test_the_classifiers_step_leaves_the_inference_net_alone(trainer):
    before, weights = copies(trainer.net), copies(trainer.classifier)
    trainer._classifier_step(torch.arange(8), alpha=4.0, bar=Silent())
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.net.state_dict().items())
    assert not torch.equal(trainer.classifier.network.conv1.weight, weights["network.conv1.weight"])


def test_each_step_of_the_classifier_goes_by_its_own_batch_alone(trainer):
    trainer._classifier_step(torch.arange(8), alpha=4.0, bar=Silent())
    before, batch, members = copy.deepcopy(trainer.classifier), torch.arange(8, 16), trainer.task.members
    loss = classifier_loss(before(to_float(members.images[batch])), members.labels[batch], trainer.net, alpha=4.0)
    expected = torch.autograd.grad(loss, list(before.parameters()))
    trainer._classifier_step(batch, alpha=4.0, bar=Silent())
    for parameter, gradient in zip(trainer.classifier.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_each_step_of_the_inference_net_goes_by_its_own_batches_alone(trainer):
    trainer._classifier_step(torch.arange(8), alpha=4.0, bar=Silent())  # which leaves gradients in the net
    trainer._inference_steps([8], generator(1))
    before, draws = copy.deepcopy(trainer.net), generator(2)
    sides = [trainer._answers(part, [8], draws)[0] for part in (trainer.task.members, trainer.task.reference)]
    expected = torch.autograd.grad(inference_loss(before, *sides), list(before.parameters()))
    trainer._inference_steps([8], generator(2))
    for parameter, gradient in zip(trainer.net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_every_epoch_draws_its_own_batches_for_both(trainer, monkeypatch):
    batches, draws = [], []
    monkeypatch.setattr(trainer, "_classifier_step", lambda batch, **_: batches.append(batch.tolist()) or 0.0)
    monkeypatch.setattr(
        trainer, "_inference_steps", lambda _, generator: draws.append(torch.rand(1, generator=generator).item()) or 0.0
    )
    for epoch in (1, 2, 1):
        trainer.train_epoch(epoch, Silent())
    assert batches[:3] == batches[6:] != batches[3:6] and draws[:2] == draws[4:] != draws[2:4]
    for start in (0, 3):
        assert sorted(row for batch in batches[start : start + 3] for row in batch) == list(range(20))


def test_the_inference_net_is_shown_the_classifiers_answers_to_both_sides(trainer):
    task = trainer.task
    for part in (task.members, task.reference):
        sizes = [8, 5, 8, 8]
        batches = trainer._answers(part, sizes, generator(3))
        drawn = in_turn(len(part), 29, generator=generator(3)).split(sizes)
        assert [len(labels) for _, labels in batches] == sizes
        for (logits, labels), rows in zip(batches, drawn, strict=True):
            assert torch.equal(labels, part.labels[rows])
            torch.testing.assert_close(logits, answer(trainer.classifier, part.images)[rows])


@given(st.integers(1, 30), st.integers(1, 100), st.integers(0, 3))
def test_nobody_is_drawn_again_before_all_were_drawn(samples, count, seed):
    drawn = in_turn(samples, count, generator=generator(seed)).tolist()
    assert len(drawn) == count
    for start in range(0, count, samples):
        turn = drawn[start : start + samples]
        assert len(set(turn)) == len(turn)
        assert set(turn) <= set(range(samples))


def test_turns_are_shuffled_anew():
    first, second = in_turn(30, 60, generator=generator()).split(30)
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.arange(30))


def test_the_first_passes_show_each_member_once_a_pass(trainer, monkeypatch):
    shown = []
    monkeypatch.setattr(trainer, "_classifier_step", lambda batch, alpha, bar: 0.0)
    monkeypatch.setattr(
        advreg, "inference_loss", lambda net, member, other: shown.append(member[0]) or net(*other).sum()
    )
    members = answer(trainer.classifier, trainer.task.members.images)
    trainer.train_epoch(0, Silent())
    assert [len(logits) for logits in shown] == 2 * [7, 7, 6]
    for turn in torch.cat(shown).split(20):
        torch.testing.assert_close(turn.sort(dim=0).values, members.sort(dim=0).values)


def test_making_a_trainer_leaves_the_classifier_as_it_was_made(trainer):
    fresh = trainer.task.new_classifier(trainer.task.seed).state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in trainer.classifier.state_dict().items())


def test_the_inference_net_learns_to_tell_members(tmp_path):
    task = make_task(tmp_path, config(inference_learning_rate=1e-3))
    task.members.labels[:] = 0
    task.reference.labels[:] = 2
    trainer = advreg._Trainer(task)
    assert trainer._inference_steps([8], generator()) == pytest.approx(0.25, abs=0.01)  # it knows nothing
    trainer._inference_steps(60 * [8], generator())
    assert trainer._inference_steps([8], generator()) < 0.01
    there = torch.arange(8)
    assert trainer.net(answer(trainer.classifier, task.members.images[there]), task.members.labels[there]).min() > 0.8


@pytest.fixture
def game(trainer, monkeypatch):
    """What is played, in order, instead of training."""
    moves = []
    monkeypatch.setattr(trainer, "_inference_steps", lambda sizes, draws: moves.append(("net", sizes)) or 0.0)
    monkeypatch.setattr(trainer, "_classifier_step", lambda batch, alpha, bar: moves.append((len(batch), alpha)) or 0.0)
    return moves


def test_the_first_epoch_is_plain_and_ends_with_passes_of_the_inference_net(trainer, game):
    trainer.train_epoch(0, Silent())
    assert game == [(7, 0.0), (7, 0.0), (6, 0.0), ("net", [7, 7, 6, 7, 7, 6])]  # 2 passes


def test_later_epochs_take_turns(trainer, game):
    trainer.train_epoch(1, Silent())
    assert game == [("net", 5 * [8]), (7, 4.0), (7, 4.0), ("net", 5 * [8]), (6, 4.0)]


def test_a_trained_classifier_is_left_behind(tmp_path):
    task = make_task(tmp_path, config(epochs=2))
    advreg.train(task)
    assert task.job.path.is_file()
    assert task.job.log_path.read_text().startswith("round,loss,inference_loss\n1,")
