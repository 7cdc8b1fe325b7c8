"""Plain procedures that work as the published code is described: one thing at a time, in small batches."""

from functools import partial

import numpy as np
import torch
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F

from common.attacks.nn import AttackNet
from common.diffence.noise import candidate_noise
from common.diffusion.denoiser import Denoiser
from common.models.unet import Attention, UNet, UpSample
from common.runtime import rng

STEP = 160
BATCH = 10


def as_published(unet: UNet) -> UNet:
    """The network of the same weights, computed operation by operation as the published one is described."""
    for module in unet.modules():
        if isinstance(module, UpSample):
            module.forward = partial(_up_sampled, module)  # type: ignore[method-assign]
        elif isinstance(module, Attention):
            module.forward = partial(_attended, module)  # type: ignore[method-assign]
        elif isinstance(module, nn.SiLU):
            module.inplace = False
    return unet


def _up_sampled(module: UpSample, x: torch.Tensor) -> torch.Tensor:
    return module.main(F.interpolate(x, scale_factor=2, mode="nearest"))


def _attended(module: Attention, x: torch.Tensor) -> torch.Tensor:
    h = module.group_norm(x)
    q, k, v = (proj(h).flatten(2) for proj in (module.proj_q, module.proj_k, module.proj_v))  # [B, C, HW]
    share = (torch.bmm(q.mT, k) * x.shape[1] ** -0.5).softmax(dim=2)
    return x + module.proj(torch.bmm(v, share.mT).reshape(x.shape))


@torch.no_grad()
def candidates(
    classifier: nn.Module, denoiser: Denoiser, x: torch.Tensor, *, count: int, passes: int = 2
) -> torch.Tensor:
    """Batch after batch, one candidate at a time, two passes of the diffusion model for each: [B, count + 1, K]."""
    return torch.cat([_candidates(classifier, denoiser, part, count, passes) for part in x.split(BATCH)])


def _candidates(classifier: nn.Module, denoiser: Denoiser, x: torch.Tensor, count: int, passes: int) -> torch.Tensor:
    keys = [rng.sample_key(image) for image in x]
    answers = []
    for j in range(count):
        noise = candidate_noise([(key, j) for key in keys], x.shape[1:], seed=0)
        for _ in range(passes - 1):  # the jump from the step to itself, whose result is not needed
            denoiser.predict_noise(2 * x - 1, torch.full((len(x),), STEP - 1))
        answers.append(classifier(denoiser.purify(x, noise, step=STEP)))
    return torch.stack([*answers, classifier(x)], dim=1)


def interval(members: np.ndarray, others: np.ndarray, *, grid_points: int) -> tuple[float, float]:
    """The search over every interval and every sample, by phi [n, N + 1] of candidates, NaN where the label changed."""
    grid = np.linspace(np.nanmin(members), np.nanmax(others), grid_points)
    best, least = (-np.inf, np.inf), np.inf
    for i, lo in enumerate(grid):
        for hi in grid[i + 1 :]:
            answered = [np.array([_answered(row, lo, hi) for row in rows]) for rows in (members, others)]
            ends = answered[1].min(), answered[1].max()
            if ends[0] == ends[1]:
                continue
            counts = [np.histogram(values, bins=100, range=ends)[0] for values in answered]
            distance = jensenshannon(*(np.clip(count, 1e-19, None) for count in counts)) if counts[0].any() else np.inf
            if distance < least:
                best, least = (float(lo), float(hi)), distance
    return best


def _answered(phis: np.ndarray, lo: float, hi: float) -> float:
    for phi in phis:
        if lo <= phi <= hi:
            return phi
    return phis[np.nanargmin(np.abs(phis - (lo + hi) / 2))]


def nn_attack(
    features: tuple[torch.Tensor, ...], member: np.ndarray, test: tuple[torch.Tensor, ...], test_member: np.ndarray,
    *, num_classes: int, epochs: int, learning_rate: float,
) -> float:  # fmt: skip
    """The NN attack in batches of 64 members and 64 others, with a metric after each batch; the best test AUC."""
    net = AttackNet(num_classes)
    optimizer = torch.optim.Adam(net.parameters(), lr=learning_rate)
    target, best = torch.from_numpy(member).float(), 0.0
    kinds = [torch.from_numpy(np.flatnonzero(kind)) for kind in (member, ~member)]
    for _ in range(epochs):
        shuffled = [kind[torch.randperm(len(kind))].split(64) for kind in kinds]
        for parts in zip(*shuffled, strict=True):
            batch = torch.cat(parts)
            estimate = net(*(feature[batch] for feature in features)).sigmoid()
            loss = F.mse_loss(estimate, target[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            roc_auc_score(member[batch.numpy()], estimate.detach().numpy())
        with torch.no_grad():
            estimates = [
                net(*(feature[part] for feature in test)) for part in torch.arange(len(test_member)).split(128)
            ]
        best = max(best, float(roc_auc_score(test_member, torch.cat(estimates).numpy())))
    return best


@torch.no_grad()
def soft_labels(teachers: list[nn.Module], images: torch.Tensor, unseen: np.ndarray) -> torch.Tensor:
    """SELENA's soft labels, one image at a time by each teacher that never saw it."""
    rows = []
    for image, row in zip(images, unseen, strict=True):
        answers = [teachers[index](image[None] / 255).softmax(dim=1) for index in np.flatnonzero(row)]
        rows.append(torch.cat(answers).mean(dim=0))
    return torch.stack(rows)
