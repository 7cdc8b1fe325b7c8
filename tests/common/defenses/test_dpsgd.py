import copy

import pytest
import torch
from opacus.accountants import RDPAccountant
from opacus.optimizers import DPOptimizer
from opacus.validators import ModuleValidator
from torch import nn
from torch.nn import functional as F

from common.defenses import dpsgd
from common.defenses.dpsgd import DPSGDConfig, Trainer, epsilon, noise_multiplier, sample_rate, steps_per_epoch
from common.models.classifiers import replace_batch_norm
from common.models.resnet import ResNet
from common.runtime import checkpoints
from common.runtime.errors import UserError
from common.runtime.images import to_float
from tests.common.defenses import TRAINING, Silent, make_task, new_classifier

pytestmark = [
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),  # Opacus's hook on the first layer: harmless
    pytest.mark.filterwarnings("ignore:Optimal order is"),  # extreme noise: the bound is loose but valid
]

CLIP = 1.3  # between the norms of the samples below: some are clipped, some are not
ROWS = torch.tensor([0, 3, 4, 7, 11, 12, 19])


def config(**settings):
    own = {"max_grad_norm": CLIP, "delta": 1e-5, "target_epsilon": None, "noise_multiplier": 1e-12}
    return DPSGDConfig(**(TRAINING | own | {"physical_batch": 64} | settings))


def trainer_of(tmp_path, **settings):
    trainer = Trainer(make_task(tmp_path, config(**settings), group_norm=True))
    trainer.module.train()
    return trainer


def gradients(module):
    return [parameter.grad.clone() for parameter in module.parameters()]


def norm(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors]).norm().item()


def slow_gradients(task):
    """The gradient of each of ROWS alone, by plain back-propagation."""
    classifier = task.new_classifier(task.seed).train()
    of_samples = []
    for row in ROWS:
        loss = F.cross_entropy(classifier(to_float(task.members.images[row][None])), task.members.labels[row][None])
        of_samples.append(torch.autograd.grad(loss, list(classifier.parameters())))
    return of_samples


@pytest.mark.parametrize("physical_batch", [64, 7, 3, 1])
def test_a_step_goes_by_the_sum_of_clipped_gradients_whatever_is_held_at_once(tmp_path, physical_batch):
    trainer = trainer_of(tmp_path, physical_batch=physical_batch)
    of_samples = slow_gradients(trainer.task)
    norms = [norm(sample) for sample in of_samples]
    assert min(norms) < CLIP < max(norms)
    factors = [min(1, CLIP / size) for size in norms]
    trainer.step(ROWS)
    for i, gradient in enumerate(gradients(trainer.classifier)):
        expected = sum(factor * sample[i] for factor, sample in zip(factors, of_samples, strict=True))
        torch.testing.assert_close(gradient * 8, expected, rtol=1e-4, atol=1e-5)  # 8 samples are expected


@pytest.mark.parametrize("physical_batch", [64, 3, 1])
def test_noise_is_added_once_and_weights_move_the_same_way_whatever_is_held_at_once(tmp_path, physical_batch):
    trainers = [trainer_of(tmp_path, noise_multiplier=0.7, physical_batch=size) for size in (7, physical_batch)]
    losses = []
    for trainer in trainers:
        before = [parameter.clone() for parameter in trainer.classifier.parameters()]
        trainer.noise.manual_seed(1)
        losses += [[trainer.step(rows) for rows in (ROWS, ROWS[:5])]]
        assert all(not torch.equal(a, b) for a, b in zip(before, trainer.classifier.parameters(), strict=True))
    assert losses[0] == pytest.approx(losses[1])
    for one, other in zip(*(gradients(trainer.classifier) for trainer in trainers), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_no_sample_has_more_than_the_bound(tmp_path, monkeypatch):
    seen = []
    clip_and_accumulate = DPOptimizer.clip_and_accumulate

    def spy(optimizer):
        seen.append([sample.clone() for sample in optimizer.grad_samples])
        clip_and_accumulate(optimizer)

    monkeypatch.setattr(DPOptimizer, "clip_and_accumulate", spy)
    trainer = trainer_of(tmp_path)
    for row in ROWS:
        trainer.step(row[None])
        assert norm(gradients(trainer.classifier)) * 8 <= CLIP * (1 + 1e-5)
    assert max(norm(sample) for sample in seen) > CLIP


def test_a_batch_without_anybody_is_noise_alone(tmp_path):
    trainer = trainer_of(tmp_path, noise_multiplier=0.7)
    trainer.step(ROWS)
    before = [parameter.clone() for parameter in trainer.classifier.parameters()]
    trainer.noise.manual_seed(5)
    assert trainer.step(torch.tensor([], dtype=torch.int64)) == 0
    draws = torch.Generator().manual_seed(5)
    for parameter, old in zip(trainer.classifier.parameters(), before, strict=True):
        noise = torch.normal(0, 0.7 * CLIP, parameter.shape, generator=draws)
        torch.testing.assert_close(parameter.grad, noise / 8)
        assert not torch.equal(parameter, old)


def test_an_epoch_takes_the_steps_that_are_accounted_for(tmp_path, monkeypatch):
    trainer = trainer_of(tmp_path)
    drawn = []
    monkeypatch.setattr(trainer, "step", lambda rows: drawn.append(rows.tolist()) or 0.0)
    for epoch in range(200):
        trainer.train_epoch(epoch, Silent())
    assert len(drawn) == 200 * 3 == 200 * steps_per_epoch(trainer.config, members=20)
    sizes = torch.tensor([len(rows) for rows in drawn]).double()
    assert sizes.mean().item() == pytest.approx(8, abs=0.4)  # Poisson sampling: binomial, with variance 4.8
    assert sizes.var().item() == pytest.approx(4.8, rel=0.3)
    assert len({tuple(rows) for rows in drawn}) > 590


def test_noise_differs_from_epoch_to_epoch(tmp_path, monkeypatch):
    trainer = trainer_of(tmp_path)
    first = []
    monkeypatch.setattr(trainer, "step", lambda rows: first.append(torch.rand(1, generator=trainer.noise).item()) or 0)
    for epoch in (0, 1, 0):
        trainer.train_epoch(epoch, Silent())
    assert first[:3] == first[6:]
    assert len(set(first[:6])) == 6


@pytest.mark.parametrize(("noise", "members", "steps"), [(1.1, 1000, 250), (0.7, 20, 3), (0.1, 25000, 7)])
def test_epsilon_is_that_of_an_accountant_told_of_each_step(noise, members, steps):
    settings = config(noise_multiplier=noise, batch_size=8)
    accountant = RDPAccountant()
    for _ in range(steps):
        accountant.step(noise_multiplier=noise, sample_rate=8 / members)
    assert epsilon(settings, members=members, steps=steps) == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-9)


@pytest.mark.parametrize("target", [0.5, 2.0, 8.0])
def test_the_target_epsilon_is_used_but_not_exceeded(target):
    settings = config(noise_multiplier=None, target_epsilon=target, epochs=10, batch_size=32)
    steps = 10 * steps_per_epoch(settings, members=1000)
    assert steps == 320
    assert 0.95 * target < epsilon(settings, members=1000, steps=steps) <= target
    spendthrift = config(noise_multiplier=noise_multiplier(settings, members=1000) * 0.95, batch_size=32)
    assert epsilon(spendthrift, members=1000, steps=steps) > target


def test_a_batch_larger_than_the_members_takes_all():
    assert sample_rate(config(batch_size=30), members=20) == 1
    assert sample_rate(config(batch_size=5), members=20) == 0.25


def test_a_batch_that_takes_all_is_divided_by_all(tmp_path):
    few, many = (trainer_of(tmp_path, batch_size=size) for size in (20, 30))  # of 20 members
    for trainer in (few, many):
        trainer.step(torch.arange(20))
    for one, other in zip(gradients(few.classifier), gradients(many.classifier), strict=True):
        torch.testing.assert_close(one, other)
    losses = [trainer.train_epoch(0, Silent())["loss"] for trainer in (few, many)]
    assert losses[0] == pytest.approx(losses[1])


def test_an_epsilon_that_no_noise_reaches_is_the_users_to_mend(tmp_path):
    settings = config(noise_multiplier=None, target_epsilon=0.001)
    with pytest.raises(UserError, match=r"target_epsilon \(0.001\) .* out of reach in 3 steps .* give a greater one"):
        dpsgd.train(make_task(tmp_path, settings, group_norm=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("delta", "fits"), [(0.049, True), (0.05, False), (0.9, False)])
def test_delta_is_smaller_than_one_member_in_all(tmp_path, delta, fits):
    task = make_task(tmp_path, config(delta=delta, noise_multiplier=1.0), group_norm=True)  # 20 members
    if fits:
        dpsgd.train(task)
    else:
        with pytest.raises(UserError, match=r"delta .* must be smaller than 1 / members = 0.05"):
            dpsgd.train(task)
    assert task.job.path.is_file() == fits


@pytest.mark.parametrize("both", [(None, None), (3.0, 1.0)])
def test_either_noise_or_epsilon_is_given(both):
    with pytest.raises(ValueError, match="either target_epsilon or noise_multiplier"):
        config(target_epsilon=both[0], noise_multiplier=both[1])


def layers(network):
    """Name, kind and shape of each layer."""
    return [
        (name, type(part), part.extra_repr())
        for name, part in network.named_modules()
        if next(part.children(), None) is None
    ]


@pytest.mark.parametrize("width", [4, 16, 48, 64])
def test_batch_norm_gives_way_as_opacus_would_have_it(width):
    network = ResNet(channels=3, num_classes=10, width=width, blocks=[1, 2])
    by_opacus = ModuleValidator.fix(copy.deepcopy(network))
    replace_batch_norm(network)
    assert not any(isinstance(part, nn.modules.batchnorm._NormBase) for part in network.modules())
    assert any(isinstance(part, nn.GroupNorm) for part in network.modules())
    assert layers(network) == layers(by_opacus)
    assert ModuleValidator.is_valid(network)


def test_its_classifier_is_one_that_mixes_no_samples():
    classifier = new_classifier(group_norm=dpsgd.DEFENSE.group_norm)
    assert ModuleValidator.is_valid(classifier)
    assert not ModuleValidator.is_valid(new_classifier())  # others' would not do


def test_a_trained_classifier_says_what_was_spent(tmp_path, capsys):
    task = make_task(tmp_path, config(noise_multiplier=1.0, epochs=2), group_norm=True)
    dpsgd.train(task)
    accountant = RDPAccountant()
    for _ in range(6):
        accountant.step(noise_multiplier=1.0, sample_rate=0.4)
    privacy = checkpoints.read(task.job.path, expect={}).content["privacy"]
    assert privacy == {
        "epsilon": pytest.approx(accountant.get_epsilon(1e-5)),
        "delta": 1e-5,
        "noise_multiplier": 1.0,
        "max_grad_norm": CLIP,
    }
    assert f"epsilon {privacy['epsilon']:.3g} at delta 1e-05" in capsys.readouterr().out
