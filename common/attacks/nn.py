"""The NN attack of the published evaluation (after Nasr et al., S&P 2019): it sees answer, label and loss."""

import copy
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn

from common.attacks.interface import Attack, CannotRun, Fitting, Needs
from common.attacks.observations import Observations
from common.models.mlp import initialise, relu_stack
from common.runtime import progress, rng
from common.runtime.config import Batch, Positive, PositiveFloat, Strict
from common.statistics import roc

Features = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Probabilities [n, C], one-hot labels [n, C] and losses [n, 1], float32."""


class NNAttackConfig(Strict):
    epochs: Positive
    batch_size: Batch  # of each kind, members and non-members
    learning_rate: PositiveFloat
    decay_epoch: Positive  # the learning rate is divided by ten here
    validation: Annotated[float, Field(gt=0, lt=1)]  # part of the attack-fitting role that picks the epoch


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

    def scores(self, observations: Observations) -> np.ndarray:
        """float64 [n], at least 0 where the attack says member."""
        return self.scores_of(features_of(observations))

    @torch.no_grad()
    def scores_of(self, features: Features) -> np.ndarray:
        """The same of answers that have been turned into features already."""
        scores = self.net(*features).double().numpy()
        if not np.isfinite(scores).all():
            raise CannotRun("its training diverged: lower nn_attack.learning_rate in configs/evaluation.yaml")
        return scores


def fit(
    observations: Observations, config: NNAttackConfig, *, seed: int, choose_on: Observations | None = None
) -> NNAttack:
    """Train on a part of the observations and keep the epoch with the greatest AUC on the rest of them.

    choose_on:  train on all observations and keep the epoch with the greatest AUC on these, as the published code does
                with those that it then reports
    """
    if choose_on is None:
        chosen = validation_part(observations.membership, config.validation, seed=seed)
        training, validation = observations[~chosen], observations[chosen]
    else:
        training, validation = observations, choose_on
    features, validation_features = features_of(training), features_of(validation)
    member = torch.from_numpy(training.membership).float()
    with rng.global_draws(seed, "attack net"):
        net = AttackNet(observations.logits.shape[1])
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate, fused=True)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [config.decay_epoch], gamma=0.1)
    best_auc, best_weights = -1.0, net.state_dict()
    with progress.bar(total=config.epochs, unit="epoch", desc="NN attack") as bar:
        for epoch in range(config.epochs):
            for batch in balanced_batches(training.membership, config.batch_size, seed=seed, epoch=epoch):
                estimate = net(*(feature[batch] for feature in features)).sigmoid()
                loss = nn.functional.mse_loss(estimate, member[batch])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            scheduler.step()
            validation_auc = roc.auc(NNAttack(net).scores_of(validation_features), validation.membership)
            if validation_auc > best_auc:
                best_auc, best_weights = validation_auc, copy.deepcopy(net.state_dict())
            bar.update()
    net.load_state_dict(best_weights)
    return NNAttack(net)


def features_of(observations: Observations) -> Features:
    log_p = torch.from_numpy(observations.logits).log_softmax(dim=1)
    labels = torch.from_numpy(observations.labels)
    loss = -log_p.gather(1, labels[:, None])
    one_hot = nn.functional.one_hot(labels, log_p.shape[1])
    return log_p.exp().float(), one_hot.float(), loss.float()


def validation_part(member: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """bool [n]: the samples kept for picking the epoch, the same share of members and of non-members, at least one."""
    generator = rng.numpy_generator(seed, "attack validation")
    chosen = np.zeros(len(member), dtype=bool)
    for kind in (member, ~member):
        indices = generator.permutation(np.flatnonzero(kind))
        if len(indices) < 2:
            raise CannotRun("needs at least two members and two non-members to be fitted on")
        chosen[indices[: min(max(1, round(share * len(indices))), len(indices) - 1)]] = True
    return chosen


def balanced_batches(member: np.ndarray, batch_size: int, *, seed: int, epoch: int) -> list[torch.Tensor]:
    """Batches of members and as many non-members; the shorter kind starts again from its beginning."""
    generator = rng.torch_generator(seed, "attack batches", epoch)
    kinds = [torch.from_numpy(np.flatnonzero(kind)) for kind in (member, ~member)]
    shuffled = [kind[torch.randperm(len(kind), generator=generator)] for kind in kinds]
    longest = max(map(len, shuffled))
    cycled = [kind.repeat(-(-longest // len(kind)))[:longest] for kind in shuffled]
    return [torch.cat(parts) for parts in zip(*(kind.split(batch_size) for kind in cycled), strict=True)]


def _fit(observations: Observations, fitting: Fitting) -> NNAttack:
    return fit(observations, fitting.config.nn_attack, seed=fitting.seed, choose_on=fitting.choose_on)


ATTACK = Attack(
    name="nn",
    source="Nasr, Shokri and Houmansadr, S&P 2019",
    needs=Needs(),
    fit=_fit,
    scores=NNAttack.scores,
    learns=True,
    published=True,
)
