"""Adversarial regularisation (Nasr, Shokri, Houmansadr, CCS 2018): train against an inference net that guesses members.

An epoch is rounds of 26 batches of members and of non-members for the inference net, and then 2 for the classifier
(the last round has the rest of an odd number), which makes it several times as costly as a plain epoch.
"""

from typing import Literal

import torch
from pydantic import model_validator
from torch import nn
from torch.nn import functional as F

from common.defenses.base import Defense, Task
from common.models.mlp import initialise, relu_stack
from common.runtime import rng
from common.runtime.config import Few, NonNegativeFloat, PositiveFloat
from common.runtime.images import Labelled, to_float
from common.runtime.progress import Bar
from common.training.classifier import TrainingBasics, adam, answer, num_batches, selection_score, shuffled_batches
from common.training.loop import run_rounds


class AdvRegConfig(TrainingBasics):
    alpha: NonNegativeFloat  # weight of the inference net's gain in the classifier's loss
    inference_batches: Few  # of the inference net, in each round
    classifier_batches: Few  # of the classifier, in each round
    inference_learning_rate: PositiveFloat
    first_passes: Few  # of the inference net over the members, after one plain epoch
    reference: Literal["without_validation", "whole"] = "without_validation"  # that the inference net learns from

    @model_validator(mode="after")
    def _validation_stays_unseen(self) -> "AdvRegConfig":
        if self.reference == "whole" and self.checkpoint_selection == "validation":
            raise ValueError("reference: whole has the validation part, by which checkpoint_selection picks the epoch")
        return self


class InferenceNet(nn.Module):
    """Logits [B, C] and one-hot labels [B, C] -> membership estimate [B] in (0, 1)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.answer = relu_stack(num_classes, 1024, 512, 64)
        self.label = relu_stack(num_classes, 128, 64)
        self.combined = nn.Sequential(relu_stack(128, 512, 256, 128, 64), nn.Linear(64, 1))
        initialise(self)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        one_hot = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
        h = torch.cat([self.answer(logits), self.label(one_hot)], dim=1)
        return torch.sigmoid(self.combined(h))[:, 0]


def classifier_loss(logits: torch.Tensor, labels: torch.Tensor, net: InferenceNet, *, alpha: float) -> torch.Tensor:
    """CE + alpha (mean h - 0.5), h being the inference net's estimate that these members are members."""
    return F.cross_entropy(logits, labels) + alpha * (net(logits, labels).mean() - 0.5)


def inference_loss(
    net: InferenceNet, member: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Mean squared error of the estimates; (logits, labels) of members, whose target is 1, and of non-members, 0."""
    estimates = [net(*member), net(*other)]
    return F.mse_loss(torch.cat(estimates), torch.cat([torch.ones_like(estimates[0]), torch.zeros_like(estimates[1])]))


class Trainer:
    """The classifier and its adversary, and one epoch of their game."""

    def __init__(self, task: Task) -> None:
        self.task, self.config = task, task.config
        self.classifier = task.new_classifier(task.seed)
        self.others = task.whole_reference if self.config.reference == "whole" else task.reference
        num_classes = answer(self.classifier, task.members.images[:1]).shape[1]  # which leaves batch norm as it is
        with rng.global_draws(task.seed, "inference net"):
            self.net = InferenceNet(num_classes).to(task.device)
        self.optimizer = adam(self.classifier.parameters(), self.config)
        self.net_optimizer = torch.optim.Adam(self.net.parameters(), lr=self.config.inference_learning_rate)

    def train_epoch(self, epoch: int, bar: Bar) -> dict[str, float]:
        task, config = self.task, self.config
        batches = list(
            shuffled_batches(
                len(task.members), config.batch_size, generator=rng.torch_generator(task.seed, "batches", epoch)
            )
        )
        draws = rng.torch_generator(task.seed, "inference batches", epoch)
        losses = []
        if epoch == 0:
            losses = [self._classifier_step(batch, alpha=0.0, bar=bar) for batch in batches]
            inference = self._inference_steps(config.first_passes * [len(batch) for batch in batches], draws)
        else:
            for start in range(0, len(batches), config.classifier_batches):
                inference = self._inference_steps(config.inference_batches * [config.batch_size], draws)
                for batch in batches[start : start + config.classifier_batches]:
                    losses.append(self._classifier_step(batch, alpha=config.alpha, bar=bar))
        return {"loss": sum(losses) / len(losses), "inference_loss": inference}

    def _classifier_step(self, batch: torch.Tensor, *, alpha: float, bar: Bar) -> float:
        self.classifier.train()
        there = batch.to(self.task.device)
        images, labels = to_float(self.task.members.images[there]), self.task.members.labels[there]
        loss = classifier_loss(self.classifier(images), labels, self.net, alpha=alpha)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        bar.update()
        return loss.item()

    def _inference_steps(self, sizes: list[int], draws: torch.Generator) -> float:
        """A step of the inference net for each batch size, on answers of the classifier, which stays as it is.

        It learns from answers in evaluation mode, those that an attacker will see; in training mode batch norm would
        tell a batch of members from a batch of others by itself. What the classifier pays is computed in training mode
        all the same: there the gradient takes account of how batch norm's statistics follow the weights.
        """
        sides = [self._answers(part, sizes, draws) for part in (self.task.members, self.others)]
        total = 0.0
        for member, other in zip(*sides, strict=True):
            loss = inference_loss(self.net, member, other)
            self.net_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.net_optimizer.step()
            total += loss.item()
        return total / len(sizes)

    def _answers(
        self, part: Labelled, sizes: list[int], draws: torch.Generator
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of (logits, labels) of random samples. The classifier answers each drawn sample once."""
        drawn = in_turn(len(part), sum(sizes), generator=draws).to(self.task.device)
        unique, position = drawn.unique(return_inverse=True)
        logits = answer(self.classifier, part.images[unique])
        return list(zip(logits[position].split(sizes), part.labels[drawn].split(sizes), strict=True))


def in_turn(samples: int, count: int, *, generator: torch.Generator) -> torch.Tensor:
    """``count`` random indices below ``samples``, int64: all of them come once before any comes again."""
    passes = -(-count // samples)
    return torch.cat([torch.randperm(samples, generator=generator) for _ in range(passes)])[:count]


def train(task: Task) -> None:
    trainer = Trainer(task)
    run_rounds(
        task.job,
        seed=task.seed,
        rounds=task.config.epochs,
        steps_per_round=num_batches(len(task.members), task.config.batch_size),
        stateful={
            "classifier": trainer.classifier,
            "optimizer": trainer.optimizer,
            "net": trainer.net,
            "net_optimizer": trainer.net_optimizer,
        },
        train_round=trainer.train_epoch,
        score=selection_score(trainer.classifier, task.selection),
        kept=lambda: {"state_dict": trainer.classifier.network.state_dict()},
    )


DEFENSE = Defense(config=AdvRegConfig, train=train, needs_reference=True)
