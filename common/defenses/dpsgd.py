"""DP-SGD (Abadi et al., CCS 2016) with Opacus: clipped per-sample gradients, Gaussian noise, Poisson-sampled batches.

Normalisation layers must not mix samples, so BatchNorm gives way to GroupNorm before the optimiser is made. The privacy
spent is computed by Opacus's accountant and stored in the checkpoint.

That epsilon holds against those who cannot draw the noise and the batches again. Here both follow from the seed, so
that a run can be repeated and resumed; the checkpoint records it, and torch's generator on the CPU keeps 32 bits, which
can be tried. So it measures the algorithm, and is no guarantee for a model that is given away.
"""

from functools import cache
from typing import Annotated

import torch
from opacus import GradSampleModule
from opacus.accountants import RDPAccountant
from opacus.accountants.utils import get_noise_multiplier
from opacus.optimizers import DPOptimizer
from opacus.utils.uniform_sampler import UniformWithReplacementSampler
from pydantic import Field, model_validator
from torch.nn import functional as F

from common.defenses.base import Defense, Task
from common.defenses.per_sample import OutOfPlace, require_possible
from common.runtime import rng
from common.runtime.config import Batch, PositiveFloat
from common.runtime.errors import UserError
from common.runtime.images import to_float
from common.runtime.progress import Bar
from common.training.classifier import TrainingBasics, adam, num_batches, selection_score
from common.training.loop import run_rounds


class DPSGDConfig(TrainingBasics):
    """batch_size is the expected size of a Poisson-sampled batch."""

    max_grad_norm: PositiveFloat  # clipping bound of a sample's gradient
    delta: Annotated[float, Field(gt=0, lt=1)]
    target_epsilon: PositiveFloat | None  # the noise is chosen to reach this, or
    noise_multiplier: PositiveFloat | None  # given: its standard deviation over max_grad_norm
    physical_batch: Batch  # samples whose gradients are held at once; bounds memory, changes nothing else

    @model_validator(mode="after")
    def _one_of_noise_and_epsilon(self) -> "DPSGDConfig":
        if (self.target_epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("give either target_epsilon or noise_multiplier, and null for the other")
        return self


@cache
def noise_multiplier(config: DPSGDConfig, *, members: int) -> float:
    """The configured one, or the least that spends no more than the target epsilon in all epochs.

    Raises UserError where no noise reaches the target.
    """
    if config.noise_multiplier is not None:
        return config.noise_multiplier
    steps = config.epochs * steps_per_epoch(config, members=members)
    try:
        return get_noise_multiplier(
            target_epsilon=config.target_epsilon,
            target_delta=config.delta,
            sample_rate=sample_rate(config, members=members),
            steps=steps,
            accountant="rdp",
        )
    except ValueError as error:
        raise UserError(
            f"target_epsilon ({config.target_epsilon}) of DP-SGD is out of reach in {steps} steps at delta "
            f"{config.delta:g}, whatever the noise: give a greater one"
        ) from error


def check_delta(config: DPSGDConfig, *, members: int) -> None:
    """Raises UserError where delta allows that a member's data are given away whole."""
    if not config.delta < 1 / members:
        raise UserError(
            f"delta ({config.delta:g}) of DP-SGD must be smaller than 1 / members = {1 / members:.3g}: to publish one "
            "of the members at random would be as private"
        )


def sample_rate(config: DPSGDConfig, *, members: int) -> float:
    return expected_batch(config, members=members) / members


def expected_batch(config: DPSGDConfig, *, members: int) -> int:
    """Mean size of a Poisson-sampled batch: the configured one, if there are so many members."""
    return min(config.batch_size, members)


def steps_per_epoch(config: DPSGDConfig, *, members: int) -> int:
    return num_batches(members, config.batch_size)


def epsilon(config: DPSGDConfig, *, members: int, steps: int) -> float:
    """Spent after so many steps, at the configured delta (Renyi accounting, Mironov et al. 2019)."""
    accountant = RDPAccountant()
    accountant.history = [(noise_multiplier(config, members=members), sample_rate(config, members=members), steps)]
    return float(accountant.get_epsilon(config.delta))


class Trainer:
    """The classifier with per-sample gradients, its private optimiser, and one epoch."""

    def __init__(self, task: Task) -> None:
        self.task, self.config = task, task.config
        self.members = len(task.members)
        # not channels-last: there Opacus's per-sample gradients of convolutions are not those of the samples
        self.classifier = task.new_classifier(task.seed).to(memory_format=torch.contiguous_format)
        few = slice(min(2, self.members))
        require_possible(self.classifier, to_float(task.members.images[few]), task.members.labels[few])
        self.module = GradSampleModule(self.classifier)
        self.noise = torch.Generator(task.device)  # Opacus draws on the device; seeded by name in each epoch
        self.optimizer = DPOptimizer(
            adam(self.module.parameters(), self.config),
            noise_multiplier=noise_multiplier(self.config, members=self.members),
            max_grad_norm=self.config.max_grad_norm,
            expected_batch_size=expected_batch(self.config, members=self.members),
            generator=self.noise,
        )

    def train_epoch(self, epoch: int, bar: Bar) -> dict[str, float]:
        self.module.train()
        self.noise.manual_seed(rng.derive_seed(self.task.seed, "privacy noise", epoch))
        sampler = UniformWithReplacementSampler(
            num_samples=self.members,
            sample_rate=sample_rate(self.config, members=self.members),
            generator=rng.torch_generator(self.task.seed, "batches", epoch),
            steps=steps_per_epoch(self.config, members=self.members),
        )
        total = 0.0
        for indices in sampler:
            total += self.step(torch.tensor(indices, dtype=torch.int64, device=self.task.device))
            bar.update()
        return {"loss": total / (sampler.steps * expected_batch(self.config, members=self.members))}

    def step(self, indices: torch.Tensor) -> float:
        """One noisy step on a batch of any size, none included; the sum of its samples' losses."""
        total = 0.0
        parts = indices.split(self.config.physical_batch)
        for position, part in enumerate(parts):
            self.optimizer.signal_skip_step(do_skip=position < len(parts) - 1)
            self.optimizer.zero_grad(set_to_none=True)
            if len(part):
                with OutOfPlace():
                    logits = self.module(to_float(self.task.members.images[part]))
                loss = F.cross_entropy(logits, self.task.members.labels[part])
                loss.backward()
                total += loss.item() * len(part)
            else:  # Poisson sampling drew nobody: the step is noise alone
                for parameter in self.module.parameters():
                    parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))
            self.optimizer.step()
        return total


def train(task: Task) -> None:
    config: DPSGDConfig = task.config
    members = len(task.members)
    check_delta(config, members=members)
    trainer = Trainer(task)
    steps = config.epochs * steps_per_epoch(config, members=members)
    privacy = {
        "epsilon": epsilon(config, members=members, steps=steps),  # of the whole run, whichever epoch is kept
        "delta": config.delta,
        "noise_multiplier": noise_multiplier(config, members=members),
        "max_grad_norm": config.max_grad_norm,
    }
    run_rounds(
        task.job,
        seed=task.seed,
        rounds=config.epochs,
        steps_per_round=steps_per_epoch(config, members=members),
        stateful={"classifier": trainer.classifier, "optimizer": trainer.optimizer},
        train_round=trainer.train_epoch,
        score=selection_score(trainer.classifier, task.selection),
        kept=lambda: {"state_dict": trainer.classifier.network.state_dict(), "privacy": privacy},
    )
    print(
        f"privacy spent: epsilon {privacy['epsilon']:.3g} at delta {config.delta:g}, against those who cannot draw the "
        "noise again (the checkpoint holds the seed)"
    )


DEFENSE = Defense(config=DPSGDConfig, train=train, group_norm=True, fp32_only=True)  # or clipping would not bound
