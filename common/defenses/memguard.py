"""MemGuard (Jia et al., CCS 2019): noise on the undefended classifier's answers that misleads a membership guesser.

The guesser ("defence classifier") is trained here on members and reference samples that the held-out protocol fits no
attack to and scores none on; the published protocol's known members are among them. Phase I finds noise that takes its
guess across the border while the label stays; phase II adds it with a probability that keeps the expected distortion
within a budget.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from common.defenses.base import Defense, LabelKeeping, Task, with_clear_top
from common.defenses.memguard_engine import Compact, Place, Walk, unit
from common.models.classifiers import Classifier
from common.models.mlp import relu_stack
from common.runtime import checkpoints, rng
from common.runtime.config import Positive, PositiveFloat
from common.runtime.errors import UserError
from common.runtime.progress import Bar
from common.training.classifier import TrainingBasics, adam, answer, num_batches, shuffled_batches
from common.training.loop import run_rounds


class MemGuardConfig(TrainingBasics):
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
    """Logits [B, K] in any order -> logit [B] of being a member's answer.

    It sees the sorted probabilities, so an attacker who sorts a noisy answer again sees what was guarded against.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(relu_stack(num_classes, 256, 128, 64), nn.Linear(64, 1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layers(z.softmax(dim=1).sort(dim=1, descending=True).values)[:, 0]


@torch.inference_mode()
def guard(z: torch.Tensor, guess: DefenseClassifier, config: MemGuardConfig) -> torch.Tensor:
    """Phase I for a batch of sorted logits [B, K], greatest first -> noisy logits [B, K], or z where none was found.

    Normalised gradient steps until the guess changes sign and the label stays, then from z again with c3 ten times
    larger; a sample's last success is kept. All samples walk at once, each at a c3 of its own, until they fail or have
    no greater c3 left.
    """
    noisy, ask = z.clone(), Compact(guess)
    walk = Walk.start(z, ask, c3=config.c3_first)
    while len(walk.rows):
        here = Place.at(walk.z, ask)
        step = unit(phase_one_gradient(here, walk.p, config, c3=walk.c3))
        walk = walk._replace(z=here.z.sub(step, alpha=config.step_length), steps=walk.steps + 1)
        found = (((here.d > 0) != walk.member) & (here.lead > 0)).nonzero()[:, 0]
        if len(found):
            noisy[walk.rows[found]] = here.z[found]
            walk.z[found] = walk.origin[found]
            walk.c3[found] *= 10
            walk.steps[found] = 0
        left = (walk.c3 <= config.c3_last * (1 + 1e-6)) & (walk.steps <= config.max_steps)  # the last step is looked at
        if not left.all():
            walk = Walk(*(part.index_select(0, left.nonzero()[:, 0]) for part in walk))
    return noisy


def phase_one_gradient(here: Place, p: torch.Tensor, config: MemGuardConfig, *, c3: torch.Tensor) -> torch.Tensor:
    """Gradient by z, [B, K], of c1 |d(z)| + c2 relu(max other z - top z) + c3 L1(softmax z, softmax original).

    c3 is [B]. The direction is exact however near to 1 the top probability p_0 is, where back-propagation would round
    it away: p_0's change is less the sum of the others', and the gradient by p is taken less that by p_0, which the
    softmax does not see.
    """
    away = here.p - p
    away[:, 0] = -away[:, 1:].sum(dim=1)
    by_p = here.slope * (config.c1 * here.d.sign())[:, None] + away.sign_() * c3[:, None]
    by_p -= by_p[:, :1].clone()
    gradient = here.p * (by_p - (here.p * by_p).sum(dim=1, keepdim=True))
    if (here.lead < 0).any():
        flipped = config.c2 * (here.lead < 0).to(gradient)
        gradient[:, 0] -= flipped
        gradient.scatter_add_(1, 1 + here.z[:, 1:].argmax(dim=1, keepdim=True), flipped[:, None])
    return gradient


def mixing_probability(
    z: torch.Tensor, noisy: torch.Tensor, guess: DefenseClassifier, *, budget: float
) -> torch.Tensor:
    """Phase II: probability [B] of answering with the noisy logits; the expected L1 distortion is in the budget.

    0 where the noise does not mislead the guess, or takes it no nearer to the border (phase II of the paper).
    """
    before, after = guess(z), guess(noisy)
    helps = ((before > 0) != (after > 0)) & ((before.sigmoid() - 0.5).abs() > (after.sigmoid() - 0.5).abs())
    distortion = (noisy.softmax(dim=1) - z.softmax(dim=1)).abs().sum(dim=1)
    return torch.where(helps, (budget / distortion.clamp(min=1e-12)).clamp(max=1.0), 0.0)


class Protected(NamedTuple):
    """Sorted answers [B, K], greatest first, as they are and with noise, and the probability [B] of the noise."""

    z: torch.Tensor
    noisy: torch.Tensor
    probability: torch.Tensor


def protect(z: torch.Tensor, guess: DefenseClassifier, config: MemGuardConfig) -> Protected:
    """Both phases for sorted logits [B, K], greatest first."""
    z = with_clear_top(z)
    noisy = with_clear_top(guard(z, guess, config))
    return Protected(z, noisy, mixing_probability(z, noisy, guess, budget=config.distortion_budget))


class MemGuardOutput(LabelKeeping):
    """The undefended classifier with guarded answers; whether a sample gets noise is drawn once, by its pixels."""

    def __init__(self, classifier: nn.Module, guess: DefenseClassifier, config: MemGuardConfig, *, seed: int) -> None:
        super().__init__(classifier)
        self.guess = guess.requires_grad_(False)
        self.config, self.seed = config, seed

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] in [0, 1] -> logits [B, K]: the argmax, of their softmax too, is the classifier's own."""
        return self.of_passes([x])

    @torch.no_grad()
    def of_passes(self, passes: Sequence[torch.Tensor]) -> torch.Tensor:
        """The answers to images that come in several passes, one after the other: as pass by pass, but faster.

        Phase I walks some hundred steps for a few answers as for many; an answer does not depend on its company.
        """
        x, logits = torch.cat(list(passes)), torch.cat([self.classifier(part) for part in passes])
        if logits.shape[1] < 2:
            return logits
        z, order = logits.sort(dim=1, descending=True, stable=True)  # of equal logits the first class stays first
        z, noisy, probability = protect(z, self.guess, self.config)
        answers = noisy.where((self._draws(x) < probability)[:, None], z)
        return torch.empty_like(answers).scatter(1, order, answers)

    def _draws(self, x: torch.Tensor) -> torch.Tensor:
        draws = [rng.numpy_generator(self.seed, "memguard", rng.sample_key(image)).random() for image in x]
        return torch.tensor(draws).to(x)


@torch.no_grad()
def unguarded_share(z: torch.Tensor, guess: DefenseClassifier, config: MemGuardConfig) -> float:
    """Share of the sorted answers [n, K] for which there is no noise, so that they always go out as they are."""
    probabilities = torch.cat([protect(part, guess, config).probability for part in z.split(256)])
    return int((probabilities == 0).sum()) / len(probabilities)


def train(task: Task) -> None:
    """Train the defence classifier; the checkpoint holds it beside the undefended classifier's weights."""
    config: MemGuardConfig = task.config
    classifier, weights = task.new_classifier(task.seed), task.undefended()
    classifier.network.load_state_dict(weights)
    z, member = training_answers(task, classifier)
    with rng.global_draws(task.seed, "defence classifier"):
        guess = DefenseClassifier(z.shape[1]).to(task.device)
    optimizer = adam(guess.parameters(), config)

    def train_epoch(epoch: int, bar: Bar) -> dict[str, float]:
        generator = rng.torch_generator(task.seed, "batches", epoch)
        total = 0.0
        for indices in shuffled_batches(len(z), config.batch_size, generator=generator):
            there = indices.to(task.device)
            loss = F.binary_cross_entropy_with_logits(guess(z[there]), member[there])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(there)
            bar.update()
        return {"loss": total / len(z)}

    run_rounds(
        task.job,
        seed=task.seed,
        rounds=config.epochs,
        steps_per_round=num_batches(len(z), config.batch_size),
        stateful={"guess": guess, "optimizer": optimizer},
        train_round=train_epoch,
        kept=lambda: {
            "state_dict": weights,
            "defense_classifier": guess.state_dict(),
            "unguarded": unguarded_share(z, guess, config),
        },
    )
    unguarded = checkpoints.read(task.job.path, expect={"unguarded": float}).content["unguarded"]
    print(f"no noise is found for {unguarded:.1%} of the answers that the defence classifier learnt from: unguarded")


def training_answers(task: Task, classifier: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Sorted logits [2n, K] of the undefended classifier for n members and n reference samples, and 1 for members."""
    n = min(len(task.tuning_members), len(task.reference))
    answers = [answer(classifier, part.images[:n]) for part in (task.tuning_members, task.reference)]
    member = torch.cat([torch.ones(n), torch.zeros(n)]).to(task.device)
    return torch.cat(answers).sort(dim=1, descending=True).values, member


def wrap(classifier: Classifier, state: dict[str, Any], config: MemGuardConfig, *, seed: int, path: Path) -> nn.Module:
    """Raises UserError naming the file where its defence classifier is missing, damaged or not for this classifier."""
    weights = state.get("defense_classifier")
    if not isinstance(weights, dict):
        raise UserError(f"{path}: no defence classifier: train it with `python train_defense.py --defense memguard`")
    guess = DefenseClassifier(classifier.num_classes)
    checkpoints.load_weights(guess, weights, path=path)
    return MemGuardOutput(classifier, guess, config, seed=seed)


DEFENSE = Defense(
    config=MemGuardConfig, train=train, wrap=wrap, needs_undefended=True, needs_reference=True, fp32_only=True
)
