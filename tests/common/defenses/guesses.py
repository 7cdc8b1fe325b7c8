"""Defence classifiers of MemGuard, and answers for them to guess about."""

import torch
from torch import nn

from common.defenses.memguard import DefenseClassifier, MemGuardConfig
from tests.common.defenses import TRAINING, generator
from tests.common.formula import fill


def config(**settings):
    own = {"c1": 1.0, "c2": 10.0, "c3_first": 0.1, "c3_last": 10.0, "max_steps": 30, "step_length": 0.1}
    return MemGuardConfig(**(TRAINING | own | {"distortion_budget": 1.0} | settings))


def guess_by_top(limit=0.7, *, num_classes=4):
    """Takes an answer for a member's where its top probability is above a limit: its logit is 8 (p_0 - limit)."""
    guess = DefenseClassifier(num_classes).requires_grad_(False)
    linear = [part for part in guess.modules() if isinstance(part, nn.Linear)]
    for part in linear:
        part.weight.zero_()
        part.bias.zero_()
        part.weight[0, 0] = 1
    linear[-1].weight *= 8
    linear[-1].bias -= 8 * limit
    return guess


def sorted_logits(count=24, num_classes=4, *, scale=2.0):
    return (scale * torch.randn(count, num_classes, generator=generator())).sort(dim=1, descending=True).values


def trained_guess(num_classes, limit=0.6):
    """A defence classifier that has learnt to do as guess_by_top does, in its own curved way."""
    guess = fill(DefenseClassifier(num_classes))
    z = sorted_logits(400, num_classes)
    member = (guess_by_top(limit, num_classes=num_classes)(z) > 0).float()
    optimizer = torch.optim.Adam(guess.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(guess(z), member).backward()
        optimizer.step()
    return guess.requires_grad_(False)


def distortion(a, b):
    return (a.softmax(dim=-1) - b.softmax(dim=-1)).abs().sum(dim=-1)
