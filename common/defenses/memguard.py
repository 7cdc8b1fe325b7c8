"""MemGuard (Jia et al., CCS 2019): noise on the undefended classifier's answers that misleads a membership guesser.

The guesser ("defence classifier") is trained here on members and reference samples that no attack is fitted to or
scored on. Phase I finds noise that takes its guess to the border while the label stays; phase II adds it with a
probability that keeps the expected distortion within a budget.
"""

from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from common import published, rng, storage, training
from common.config import Positive, PositiveFloat, TrainingConfig
from common.defenses.base import Defense, Task
from common.models.mlp import relu_stack
from common.training import answer


class MemGuardConfig(TrainingConfig):
    """epochs, batch_size, learning_rate and weight_decay are those of the defence classifier."""

    c1: PositiveFloat  # weight of the distance from the border
    c2: PositiveFloat  # weight of keeping the label
    c3_first: PositiveFloat  # weight of the distortion, times ten until
    c3_last: PositiveFloat
    max_steps: Positive  # of phase I, for each c3
    step_length: PositiveFloat
    distortion_budget: Annotated[float, Field(ge=0, le=2)]  # expected L1 distance of the probabilities; published: none

    @model_validator(mode="after")
    def _weights_grow(self) -> "MemGuardConfig":
        if self.c3_first > self.c3_last:
            raise ValueError(f"c3_first ({self.c3_first}) must not exceed c3_last ({self.c3_last})")
        return self


class DefenseClassifier(nn.Module):
    """Sorted logits [B, K], greatest first -> logit [B] of being a member's answer."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(relu_stack(num_classes, 256, 128, 64), nn.Linear(64, 1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layers(z.softmax(dim=1))[:, 0]


def guard(z: torch.Tensor, guess: DefenseClassifier, config: MemGuardConfig) -> torch.Tensor:
    """Phase I for a batch of sorted logits [B, K], greatest first -> noisy logits [B, K], or z where none was found.

    From z again for each c3, ten times larger each time; a sample's last success is kept, and one that fails is left.
    """
    noisy = z.clone()
    rows = torch.arange(len(z), device=z.device)
    c3 = config.c3_first
    while len(rows) and c3 <= config.c3_last * (1 + 1e-9):
        moved, found = _descend(z[rows], guess, config, c3=c3)
        rows = rows[found]
        noisy[rows] = moved[found]
        c3 *= 10
    return noisy


def phase_one_loss(
    z: torch.Tensor, original: torch.Tensor, d: torch.Tensor, config: MemGuardConfig, *, c3: float
) -> torch.Tensor:
    """c1 |d(z)| + c2 relu(max other z - top z) + c3 L1(softmax z, softmax original), for each of [B, K]."""
    flip = F.relu(z[:, 1:].amax(dim=1) - z[:, 0])
    distortion = (z.softmax(dim=1) - original.softmax(dim=1)).abs().sum(dim=1)
    return config.c1 * d.abs() + config.c2 * flip + c3 * distortion


def _descend(
    original: torch.Tensor, guess: DefenseClassifier, config: MemGuardConfig, *, c3: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised gradient steps until the guess changes sign and the label stays: where each sample got, and if."""
    z, result = original.clone(), original.clone()
    found = torch.zeros(len(z), dtype=torch.bool, device=z.device)
    rows = torch.arange(len(z), device=z.device)  # of those still on their way
    with torch.no_grad():
        member = guess(original) > 0
    for _ in range(config.max_steps):
        z = z.detach().requires_grad_(True)
        with torch.enable_grad():
            loss = phase_one_loss(z, original[rows], guess(z), config, c3=c3)
            (gradient,) = torch.autograd.grad(loss.sum(), z)
        z = z.detach() - config.step_length * F.normalize(gradient, dim=1)
        with torch.no_grad():
            done = ((guess(z) > 0) != member[rows]) & (z[:, 0] > z[:, 1:].amax(dim=1))
        result[rows[done]] = z[done]
        found[rows[done]] = True
        z, rows = z[~done], rows[~done]
        if not len(rows):
            break
    return result, found


def mixing_probability(
    z: torch.Tensor, noisy: torch.Tensor, guess: DefenseClassifier, *, budget: float
) -> torch.Tensor:
    """Phase II: probability [B] of answering with the noisy logits; the expected L1 distortion is in the budget.

    0 where the noise takes the guess no nearer to the border (phase II of the paper).
    """
    nearer = (guess(z).sigmoid() - 0.5).abs() > (guess(noisy).sigmoid() - 0.5).abs()
    distortion = (noisy.softmax(dim=1) - z.softmax(dim=1)).abs().sum(dim=1)
    return torch.where(nearer, (budget / distortion.clamp(min=1e-12)).clamp(max=1.0), 0.0)


class MemGuardOutput(nn.Module):
    """The undefended classifier with guarded answers; whether a sample gets noise is drawn once, by its pixels."""

    def __init__(self, classifier: nn.Module, guess: DefenseClassifier, config: MemGuardConfig, *, seed: int) -> None:
        super().__init__()
        self.classifier, self.guess = classifier, guess.requires_grad_(False)
        self.config, self.seed = config, seed

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] in [0, 1] -> logits [B, K] with the classifier's own argmax."""
        logits = self.classifier(x)
        if logits.shape[1] < 2:
            return logits
        z, order = logits.sort(dim=1, descending=True, stable=True)  # of equal logits the first class stays first
        noisy = guard(z, self.guess, self.config)
        probability = mixing_probability(z, noisy, self.guess, budget=self.config.distortion_budget)
        answers = noisy.where((self._draws(x) < probability)[:, None], z)
        return torch.empty_like(answers).scatter(1, order, answers)

    def _draws(self, x: torch.Tensor) -> torch.Tensor:
        draws = [
            torch.rand((), generator=rng.torch_generator(self.seed, "memguard", rng.sample_key(image))) for image in x
        ]
        return torch.stack(draws).to(x)


def train(task: Task) -> None:
    """Train the defence classifier; the checkpoint holds it beside the undefended classifier's weights."""
    config: MemGuardConfig = task.config
    state = storage.load_checkpoint(task.undefended, expect={"state_dict": dict})
    classifier = task.new_classifier(task.seed)
    weights = published.own_form(state["state_dict"], source=str(task.undefended))
    storage.load_weights(classifier.network, weights, path=task.undefended)
    z, member = _training_answers(task, classifier)
    with rng.global_draws(task.seed, "defence classifier"):
        guess = DefenseClassifier(z.shape[1]).to(task.device)
    optimizer = training.adam(guess.parameters(), config)

    def train_epoch(epoch: int, bar: tqdm) -> dict[str, float]:
        generator = rng.torch_generator(task.seed, "batches", epoch)
        total = 0.0
        for indices in training.shuffled_batches(len(z), config.batch_size, generator=generator):
            there = indices.to(task.device)
            loss = F.binary_cross_entropy_with_logits(guess(z[there]), member[there])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(there)
            bar.update()
        return {"loss": total / len(z)}

    training.run_rounds(
        task.job,
        seed=task.seed,
        rounds=config.epochs,
        steps_per_round=training.num_batches(len(z), config.batch_size),
        stateful={"guess": guess, "optimizer": optimizer},
        train_round=train_epoch,
        kept=lambda: {"state_dict": weights, "defense_classifier": guess.state_dict()},
    )


def _training_answers(task: Task, classifier: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Sorted logits [2n, K] of the undefended classifier for n members and n reference samples, and 1 for members."""
    n = min(len(task.tuning_members), len(task.reference))
    answers = [answer(classifier, part.images[:n]) for part in (task.tuning_members, task.reference)]
    member = torch.cat([torch.ones(n), torch.zeros(n)]).to(task.device)
    return torch.cat(answers).sort(dim=1, descending=True).values, member


def wrap(classifier: nn.Module, state: dict[str, Any], config: MemGuardConfig, *, seed: int) -> nn.Module:
    weights = state["defense_classifier"]
    guess = DefenseClassifier(weights["layers.0.0.weight"].shape[1])
    guess.load_state_dict(weights)
    return MemGuardOutput(classifier, guess, config, seed=seed)


DEFENSE = Defense(config=MemGuardConfig, train=train, wrap=wrap, needs_undefended=True)
