"""Compare this project's way with a plain procedure that works as the published code does, with the same weights."""

import time
from collections.abc import Callable
from typing import Any

import torch

from common import diffence, rng
from common.config import UNetConfig
from common.diffence import Diffence, Interval
from common.diffusion import Denoiser, linear_alpha_bar
from common.models.resnet import ResNet
from common.models.unet import UNet

PUBLISHED_UNET = UNetConfig(ch=128, ch_mult=[1, 2, 2, 2], attn=[1], num_res_blocks=2, dropout=0.1)
N, STEP = 4, 160


def seconds(work: Callable[[], Any], *, repeat: int = 2) -> float:
    """The best of some runs after one to warm up."""
    work()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


@torch.no_grad()
def plain_bank(classifier: ResNet, denoiser: Denoiser, x: torch.Tensor) -> torch.Tensor:
    """One candidate at a time, and two passes of the diffusion model for each, as published (N of them, then x)."""
    noise = rng.candidate_noise([rng.sample_key(image) for image in x], N, x.shape[1:], seed=0)
    answers = []
    for j in range(N):
        index = torch.full((len(x),), STEP - 1)
        denoiser.predict_noise(2 * x - 1, index)  # the identity step, whose result is not needed
        answers.append(classifier(denoiser.purify(x, noise[:, j], step=STEP)))
    return torch.stack([*answers, classifier(x)], dim=1)


def bank() -> tuple[str, float, float]:
    with rng.global_draws("benchmark"):
        unet = UNet(PUBLISHED_UNET, channels=3, num_steps=1000).eval()
        classifier = ResNet(channels=3, num_classes=10, width=64, blocks=[2, 2, 2, 2]).eval()
    denoiser = Denoiser(unet, linear_alpha_bar(T=1000, beta_1=1e-4, beta_T=0.02))
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    fenced = Diffence(classifier, denoiser, num_candidates=N, step=STEP)
    plain = seconds(lambda: plain_bank(classifier, denoiser, x))
    return "candidate bank, 35.9 M parameter UNet, fp32", plain, seconds(lambda: fenced.candidates(x))


def plain_search(known: torch.Tensor, others: torch.Tensor) -> Interval:
    """Every interval and every sample in a Python loop."""
    best, least = diffence.EVERYWHERE, float("inf")
    for interval in diffence._grid_intervals(float(known.min()), float(others.max())):
        answered = [
            torch.cat([diffence._select(row[None], interval) for row in keepers]) for keepers in (known, others)
        ]
        values = [
            keepers.gather(1, index[:, None])[:, 0].numpy()
            for keepers, index in zip((known, others), answered, strict=True)
        ]
        distance = diffence._distance(*values)
        if distance < least:
            best, least = interval, distance
    return best


def interval_search(count: int = 50) -> tuple[str, float, float]:
    generator = torch.Generator().manual_seed(0)
    members, others = (torch.randn(count, 31, 10, generator=generator) + torch.eye(10)[0] * 6 for _ in range(2))
    keepers = [diffence._phi_of_keepers(part) for part in (members, others)]
    assert plain_search(*keepers) == diffence.tune_interval(members, others, scenario=1)
    plain = seconds(lambda: plain_search(*keepers), repeat=1)
    fast = seconds(lambda: diffence.tune_interval(members, others, scenario=1))
    return f"interval search, {count} + {count} samples", plain, fast


def main() -> None:
    print(f"{'what':<48}{'plain':>12}{'here':>12}{'ratio':>8}")
    for name, plain, fast in (bank(), interval_search()):
        print(f"{name:<48}{plain:>10.3f} s{fast:>10.3f} s{plain / fast:>8.1f}")


if __name__ == "__main__":
    main()
