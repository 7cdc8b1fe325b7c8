"""This dataset's Diffence: its DDPM and settings put in front of any classifier of its images.

from cifar10.diff_defense import fence      # or cifar100, svhn, digits
fenced = fence(my_classifier)               # an nn.Module: images [B, C, H, W] in [0, 1] -> logits [B, K]
"""

from collections.abc import Callable
from pathlib import Path

import torch

from common.diffence import Diffence
from common.experiment.fence import fence_for
from common.runtime.modes import FenceName, Precision, Scenario, Work

FOLDER = Path(__file__).resolve().parents[1]


def fence(
    classifier: Callable[[torch.Tensor], torch.Tensor],
    *,
    fence: FenceName | None = None,
    work: Work | None = None,
    scenario: int | Scenario | None = None,
    seed: int | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
    diffusion: Path | str | None = None,
) -> Diffence:
    """Put the fence round a classifier that is on ``device``; see ``common.experiment.fence.fence_for``."""
    return fence_for(
        FOLDER,
        classifier,
        fence=fence,
        work=work,
        scenario=scenario,
        seed=seed,
        device=device,
        precision=precision,
        diffusion=diffusion,
    )
