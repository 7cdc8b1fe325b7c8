"""The NN attack of the published evaluation (after Nasr et al., S&P 2019): it sees answer, label and loss."""

import copy

import numpy as np
import torch
from torch import nn

from common import rng
from common.attacks import metrics
from common.attacks.answers import Answers
from common.config import NNAttackConfig
from common.models.mlp import initialise, relu_stack

Features = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Probabilities [n, C], one-hot labels [n, C] and losses [n, 1], float32."""


class AttackNet(nn.Module):
    """Probabilities [B, C], one-hot labels [B, C] and losses [B, 1] -> logit [B] of the membership estimate."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.answer = relu_stack(num_classes, 1024, 512, 64)
        self.label = relu_stack(num_classes, 128, 64)
        self.loss = relu_stack(1, num_classes, 64)
        self.combined = nn.Sequential(relu_stack(192, 256, 128, 64), nn.Linear(64, 1))
        initialise(self)

    def forward(self, answer: torch.Tensor, label: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        h = torch.cat([self.answer(answer), self.label(label), self.loss(loss)], dim=1)
        return self.combined(h)[:, 0]


class NNAttack:
    """A fitted network; it says member where its estimate is at least 1/2, which is where the logit is at least 0."""

    def __init__(self, net: AttackNet) -> None:
        self.net = net

    def scores(self, answers: Answers) -> np.ndarray:
        """float64 [n], at least 0 where the attack says member."""
        return self.scores_of(_features(answers))

    @torch.no_grad()
    def scores_of(self, features: Features) -> np.ndarray:
        """The same of answers that have been turned into features already."""
        return self.net(*features).double().numpy()


def fit(answers: Answers, config: NNAttackConfig, *, seed: int, choose_on: Answers | None = None) -> NNAttack:
    """Train on a part of the answers and keep the epoch with the greatest AUC on the rest of them.

    choose_on:  train on all answers and keep the epoch with the greatest AUC on these, as the published code does with
                those that it then reports
    """
    if choose_on is None:
        chosen = _validation_part(answers.member, config.validation, seed=seed)
        training, validation = answers[~chosen], answers[chosen]
    else:
        training, validation = answers, choose_on
    features, validation_features = _features(training), _features(validation)
    member = torch.from_numpy(training.member).float()
    with rng.global_draws(seed, "attack net"):
        net = AttackNet(answers.logits.shape[1])
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate, fused=True)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [config.decay_epoch], gamma=0.1)
    best_auc, best_weights = -1.0, net.state_dict()
    for epoch in range(config.epochs):
        for batch in _balanced_batches(training.member, config.batch_size, seed=seed, epoch=epoch):
            estimate = net(*(feature[batch] for feature in features)).sigmoid()
            loss = nn.functional.mse_loss(estimate, member[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        scheduler.step()
        validation_auc = metrics.auc(NNAttack(net).scores_of(validation_features), validation.member)
        if validation_auc > best_auc:
            best_auc, best_weights = validation_auc, copy.deepcopy(net.state_dict())
    net.load_state_dict(best_weights)
    return NNAttack(net)


def _features(answers: Answers) -> Features:
    log_p = torch.from_numpy(answers.logits).log_softmax(dim=1)
    labels = torch.from_numpy(answers.labels)
    loss = -log_p.gather(1, labels[:, None])
    one_hot = nn.functional.one_hot(labels, log_p.shape[1])
    return log_p.exp().float(), one_hot.float(), loss.float()


def _validation_part(member: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """bool [n]: the samples kept for picking the epoch, the same share of members and of non-members, at least one."""
    generator = rng.numpy_generator(seed, "attack validation")
    chosen = np.zeros(len(member), dtype=bool)
    for kind in (member, ~member):
        indices = generator.permutation(np.flatnonzero(kind))
        if len(indices) < 2:
            raise ValueError("the NN attack needs at least two members and two non-members to be fitted on")
        chosen[indices[: min(max(1, round(share * len(indices))), len(indices) - 1)]] = True
    return chosen


def _balanced_batches(member: np.ndarray, batch_size: int, *, seed: int, epoch: int) -> list[torch.Tensor]:
    """Batches of members and as many non-members; the shorter kind starts again from its beginning."""
    generator = rng.torch_generator(seed, "attack batches", epoch)
    kinds = [torch.from_numpy(np.flatnonzero(kind)) for kind in (member, ~member)]
    shuffled = [kind[torch.randperm(len(kind), generator=generator)] for kind in kinds]
    longest = max(map(len, shuffled))
    cycled = [kind.repeat(-(-longest // len(kind)))[:longest] for kind in shuffled]
    return [torch.cat(parts) for parts in zip(*(kind.split(batch_size) for kind in cycled), strict=True)]
