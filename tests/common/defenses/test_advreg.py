import copy
import dataclasses
import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from common.defenses import advreg
from common.defenses.advreg import AdvRegConfig, InferenceNet, classifier_loss, in_turn, inference_loss
from common.runtime.images import to_float
from common.training.classifier import answer
from tests.common.defenses import TRAINING, generator, make_task


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


@dataclass
class Step:
    """A step of one of the two nets: copies of both before it, the gradients that the last one left, and its input."""

    of: str  # classifier or net
    classifier: nn.Module
    net: nn.Module
    gradients: dict[str, list[torch.Tensor]]
    images: torch.Tensor | None = None  # of the classifier's step
    labels: torch.Tensor | None = None
    alpha: float | None = None
    sides: tuple | None = None  # of the net's: (logits, labels) of members and of others
    turn: int = 0  # which of the draws these are from
    loss: float = 0.0


class Watch:
    """A training, watched through the functions that it calls; without ``copies`` both nets are as they end."""

    def __init__(self, task, *, copies=True):
        self.task, self.copies, self.steps, self.draws, self.classifier, self.net = task, copies, [], [], None, None
        with pytest.MonkeyPatch.context() as patch:
            for name in ("to_float", "classifier_loss", "inference_loss", "in_turn", "InferenceNet"):
                patch.setattr(advreg, name, getattr(self, f"see_{name}"))
            advreg.train(dataclasses.replace(task, new_classifier=self.see_classifier))
        self.copies = True
        self.add("nobody")

    def see_classifier(self, seed):
        self.classifier = self.task.new_classifier(seed)
        return self.classifier

    def see_InferenceNet(self, num_classes):
        self.net = InferenceNet(num_classes)
        return self.net

    def add(self, of, **shown):
        if not self.copies:
            self.steps.append(Step(of, self.classifier, self.net, {}, **shown))
            return self.steps[-1]
        both = {"classifier": self.classifier, "net": self.net}
        gradients = {
            name: [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]
            for name, module in both.items()
        }
        self.steps.append(Step(of, *map(copy.deepcopy, both.values()), gradients, **shown))
        return self.steps[-1]

    def see_to_float(self, images):
        return self.add("classifier", images=to_float(images)).images

    def see_classifier_loss(self, logits, labels, net, *, alpha):
        self.steps[-1].labels, self.steps[-1].alpha = labels, alpha
        return classifier_loss(logits, labels, net, alpha=alpha)

    def see_inference_loss(self, net, member, other):
        step, loss = self.add("net", sides=(member, other)), inference_loss(net, member, other)
        step.turn, step.loss = len(self.draws) // 2 - 1, loss.item()
        return loss

    def see_in_turn(self, samples, count, *, generator):
        self.draws.append(in_turn(samples, count, generator=generator))
        return self.draws[-1]

    def of(self, which):
        """Each step of one net, and what comes next."""
        return [(step, after) for step, after in itertools.pairwise(self.steps) if step.of == which]

    def rows(self, step):
        """Which members the classifier's step is about."""
        same = (step.images[:, None] == to_float(self.task.members.images)[None]).flatten(2).all(dim=2)
        return same.double().argmax(dim=1)


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    return Watch(make_task(tmp_path_factory.mktemp("advreg"), config(epochs=3)))


def same(first, second):
    return all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())


def test_the_first_epoch_is_plain_and_ends_with_passes_of_the_inference_net(watch):
    first = [(step.of, len(step.sides[0][1] if step.sides else step.labels), step.alpha) for step in watch.steps[:9]]
    plain = [("classifier", size, 0.0) for size in (7, 7, 6)]
    assert first == plain + [("net", size, None) for size in (7, 7, 6, 7, 7, 6)]  # 2 passes


def test_later_epochs_take_turns(watch):
    later = [(step.of, len(step.sides[0][1] if step.sides else step.labels), step.alpha) for step in watch.steps[9:-1]]
    rounds = [5 * [("net", 8, None)] + [("classifier", size, 4.0) for size in sizes] for sizes in ((7, 7), (6,))]
    assert later == 2 * (rounds[0] + rounds[1])
    assert all(len(step.sides[0][1]) == len(step.sides[1][1]) for step, _ in watch.of("net"))


def test_the_inference_nets_steps_leave_the_classifier_alone(watch):
    for step, after in watch.of("net"):
        assert same(after.classifier, step.classifier) and not same(after.net, step.net)
        gradients = zip(after.gradients["classifier"], step.gradients["classifier"], strict=True)
        assert all(torch.equal(now, then) for now, then in gradients)


def test_the_classifiers_steps_leave_the_inference_net_alone(watch):
    for step, after in watch.of("classifier"):
        assert same(after.net, step.net) and not same(after.classifier, step.classifier)


def test_each_step_of_the_classifier_goes_by_its_own_batch_alone(watch):
    for step, after in watch.of("classifier"):
        assert torch.equal(step.labels, watch.task.members.labels[watch.rows(step)])
        before = copy.deepcopy(step.classifier)
        assert before.training
        loss = classifier_loss(before(step.images), step.labels, step.net, alpha=step.alpha)
        expected = torch.autograd.grad(loss, list(before.parameters()))
        for gradient, wanted in zip(after.gradients["classifier"], expected, strict=True):
            torch.testing.assert_close(gradient, wanted)


def test_each_step_of_the_inference_net_goes_by_its_own_batches_alone(watch):
    """Also after the classifier's steps, which leave gradients in the net."""
    step, after = watch.of("classifier")[-1]
    assert not torch.equal(step.gradients["net"][0], after.gradients["net"][0])
    for step, after in watch.of("net"):
        expected = torch.autograd.grad(inference_loss(step.net, *step.sides), list(step.net.parameters()))
        for gradient, wanted in zip(after.gradients["net"], expected, strict=True):
            torch.testing.assert_close(gradient, wanted)


def test_every_epoch_draws_its_own_batches_for_both(watch, tmp_path):
    rows = [watch.rows(step).tolist() for step, _ in watch.of("classifier")]
    epochs = [rows[start : start + 3] for start in (0, 3, 6)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert all(sorted(itertools.chain(*epoch)) == list(range(20)) for epoch in epochs)
    draws = [draw.tolist() for draw in watch.draws]
    assert len(draws) == 2 * (1 + 2 + 2)  # for both sides: once in the first epoch, then for each round
    assert len({tuple(draw) for draw in draws}) == len(draws)
    again = Watch(
        make_task(tmp_path, config(epochs=2)), copies=False
    )  # what an epoch draws depends on its number alone
    assert [again.rows(step).tolist() for step, _ in again.of("classifier")] == rows[:6]
    assert [draw.tolist() for draw in again.draws] == draws[:6]


def test_the_first_passes_show_each_member_once_a_pass(watch):
    for turn in watch.draws[0].split(20):
        assert sorted(turn.tolist()) == list(range(20))
    assert len(watch.draws[0]) == 40


def test_the_inference_net_is_shown_the_classifiers_answers_to_both_sides(watch):
    parts = (watch.task.members, watch.task.reference)
    for turn, steps in itertools.groupby((step for step, _ in watch.of("net")), key=lambda step: step.turn):
        steps = list(steps)
        for side, part in enumerate(parts):
            rows = watch.draws[2 * turn + side]
            logits, labels = (torch.cat([step.sides[side][which] for step in steps]) for which in (0, 1))
            assert torch.equal(labels, part.labels[rows])
            torch.testing.assert_close(logits, answer(steps[0].classifier, part.images)[rows])


def test_training_starts_with_the_classifier_as_it_was_made(watch):
    assert same(watch.steps[0].classifier, watch.task.new_classifier(watch.task.seed))


def test_the_inference_net_learns_to_tell_members(tmp_path):
    task = make_task(tmp_path, config(inference_learning_rate=1e-3, first_passes=21))
    task.members.labels[:] = 0
    task.reference.labels[:] = 2
    watch = Watch(task, copies=False)
    losses = [step.loss for step, _ in watch.of("net")]
    assert losses[0] == pytest.approx(0.25, abs=0.01)  # it knows nothing
    assert losses[-1] < 0.01
    end = watch.steps[-1]
    assert end.net(answer(end.classifier, task.members.images), task.members.labels).min() > 0.8


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


def test_a_trained_classifier_is_left_behind(tmp_path):
    task = make_task(tmp_path, config(epochs=2))
    advreg.train(task)
    assert task.job.path.is_file()
    assert task.job.log_path.read_text().startswith("round,loss,inference_loss\n1,")
