"""Diffence (Peng, Naseh, Houmansadr, NDSS 2025): answer with a reconstruction that does not betray membership.

    here              paper
    y_0               the label of the raw input, which is what the fenced classifier always answers
    candidates        the classifier's logits on N reconstructions of x, and on x itself, the last resort
    phi               logit-scaled confidence, log p_top - log(1 - p_top)
    interval          [lo, hi] of phi in which members and non-members look alike

Reading order: ``Diffence.candidates``, ``select``, then ``tune_interval`` for what the defender prepares.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.distance import jensenshannon
from torch import nn

from common import rng
from common.diffusion import Denoiser
from common.errors import UserError

GRID_POINTS = 21  # interval ends tried in scenario 1: 20 steps
BINS = 100  # of the histograms compared in scenario 1
EMPTY_BIN = 1e-19  # histogram counts are clipped below at this


class Interval(NamedTuple):
    """The values of phi that are accepted, both ends included."""

    lo: float
    hi: float


EVERYWHERE = Interval(-math.inf, math.inf)


def phi(logits: torch.Tensor) -> torch.Tensor:
    """log p_top - log(1 - p_top) of softmax(logits): [..., K] -> float64 [...].

    Computed as z_top - logsumexp of the others, which equals it and does not saturate where p_top rounds to 1.
    """
    z = logits.double()
    top = z.argmax(dim=-1, keepdim=True)
    others = z.scatter(-1, top, -math.inf)
    return z.gather(-1, top).squeeze(-1) - others.logsumexp(dim=-1)


def select(candidates: torch.Tensor, interval: Interval) -> torch.Tensor:
    """Which candidate answers: logits [B, N + 1, K], the raw ones last -> indices int64 [B].

    Of the candidates with the raw label, the first whose phi is inside the interval; if there is none, the one whose
    phi is nearest to the interval's middle. The raw candidate has the raw label, so there always is one.
    """
    _check_interval(interval)
    return _select(_phi_of_keepers(candidates), interval)


def _phi_of_keepers(candidates: torch.Tensor) -> torch.Tensor:
    """phi of each candidate that keeps the raw label, NaN for the others: float64 [B, N + 1]."""
    labels = candidates.argmax(dim=-1)  # of equal logits the first counts, for raw answer and candidates alike
    return phi(candidates).where(labels == labels[:, -1:], math.nan)


def _select(keepers: torch.Tensor, interval: Interval) -> torch.Tensor:
    inside = (keepers >= interval.lo) & (keepers <= interval.hi)
    first = inside.byte().argmax(dim=1)
    if interval == EVERYWHERE:
        return first
    distance = (keepers - (interval.lo + interval.hi) / 2).abs().nan_to_num(nan=math.inf)
    return first.where(inside.any(dim=1), distance.argmin(dim=1))


def take(candidates: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The chosen logits: [B, N + 1, K], [B] -> [B, K]."""
    return candidates[torch.arange(len(candidates)), index]


def tune_interval(members: torch.Tensor, non_members: torch.Tensor, *, scenario: int) -> Interval:
    """The interval for what the defender knows; candidates [n, N + 1, K] of known members and non-members.

    1, both: of all pairs from a grid between the least member phi and the greatest non-member phi, the one whose
    answers have the least Jensen-Shannon distance between members and non-members. 2, members only: [min, mean] of
    their phi. 3, neither: no selection is possible, and the first candidate that keeps the label answers.
    Everywhere phi is that of the candidates that keep the label, the raw one included.

    Raises UserError where the known samples allow no choice.
    """
    if scenario == 3:
        return EVERYWHERE
    known = _phi_of_keepers(members)
    least = float(known.nan_to_num(nan=math.inf).min())
    if scenario == 2:
        return Interval(least, float(known.nanmean()))
    others = _phi_of_keepers(non_members)
    greatest = float(others.nan_to_num(nan=-math.inf).max())
    best, least_distance = None, math.inf
    for interval in _grid_intervals(least, greatest):
        distance = _distance(*(_answered_phi(keepers, interval) for keepers in (known, others)))
        if distance < least_distance:
            best, least_distance = interval, distance
    if best is None:
        raise UserError(
            "no interval makes the known members and non-members look alike at all: their confidences "
            "do not overlap. Give more known samples (--num-sample) or use --scenario 2"
        )
    return best


def _grid_intervals(least: float, greatest: float) -> Iterator[Interval]:
    if least < greatest:
        for lo, hi in itertools.combinations(np.linspace(least, greatest, GRID_POINTS).tolist(), 2):
            yield Interval(lo, hi)


def _answered_phi(keepers: torch.Tensor, interval: Interval) -> np.ndarray:
    return keepers.gather(1, _select(keepers, interval).unsqueeze(1)).squeeze(1).numpy()


def _distance(members: np.ndarray, non_members: np.ndarray) -> float:
    """Jensen-Shannon distance between histograms over the non-members' range; infinite where it says nothing."""
    lo, hi = non_members.min(), non_members.max()
    if not hi - lo > BINS * np.spacing(max(abs(lo), abs(hi))):  # too narrow to be cut into bins
        return math.inf
    counts = [np.histogram(values, bins=BINS, range=(lo, hi))[0] for values in (members, non_members)]
    if counts[0].sum() == 0:  # no member falls into the bins: the published code's NaN, which it then prefers
        return math.inf
    return float(jensenshannon(*(np.clip(count, EMPTY_BIN, None) for count in counts)))


class Diffence(nn.Module):
    """A classifier of images in [0, 1] behind the fence: forward(x [B, C, H, W]) -> logits [B, K].

    The argmax is the classifier's own for every input. The answer to an image depends on the image and the seed
    alone, so asking again gives an attacker nothing. Keep the seed secret in a deployment.

    classifier:      images [B, C, H, W] in [0, 1] -> logits [B, K]; any module or function
    denoiser:        the diffusion model with its schedule
    interval:        from ``tune_interval``; the default accepts the first candidate that keeps the label
    num_candidates:  N, reconstructions per image
    step:            T, the diffusion step to which images are noised
    batch_size:      images per pass of the diffusion model; bounds memory, changes nothing else
    """

    def __init__(
        self,
        classifier: Callable[[torch.Tensor], torch.Tensor],
        denoiser: Denoiser,
        *,
        interval: Interval = EVERYWHERE,
        num_candidates: int = 30,
        step: int = 160,
        seed: int = 0,
        batch_size: int = 256,
    ) -> None:
        super().__init__()
        _check_interval(interval)
        if not 1 <= step <= denoiser.num_steps:
            raise ValueError(f"step must be 1 … {denoiser.num_steps}, the diffusion model's steps, not {step}")
        if num_candidates < 1 or batch_size < 1:
            raise ValueError(f"num_candidates ({num_candidates}) and batch_size ({batch_size}) must be positive")
        self.classifier = classifier
        self.denoiser = denoiser
        self.interval = Interval(*interval)
        self.num_candidates = num_candidates
        self.step = step
        self.seed = seed
        self.batch_size = batch_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        candidates = self.candidates(x)
        return take(candidates, select(candidates, self.interval)).to(x.device)

    @torch.no_grad()
    def candidates(self, x: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] in [0, 1] -> logits [B, N + 1, K] on the CPU, the raw ones last.

        Puts classifier and diffusion model into evaluation mode, whatever the caller left them in.

        Raises ValueError where x is not such images or the classifier's logits are not finite.
        """
        _check_images(x)
        self.eval()
        group = max(1, self.batch_size // self.num_candidates)
        return torch.cat([self._candidates(part) for part in x.split(group)])

    def _candidates(self, x: torch.Tensor) -> torch.Tensor:
        keys = [rng.sample_key(image) for image in x]
        noise = rng.candidate_noise(keys, self.num_candidates, x.shape[1:], seed=self.seed).flatten(0, 1)  # [B * N, …]
        images = x.repeat_interleave(self.num_candidates, dim=0)  # [B * N, C, H, W]
        answers = [
            self._classify(self.denoiser.purify(part, part_noise.to(x), step=self.step))
            for part, part_noise in zip(images.split(self.batch_size), noise.split(self.batch_size), strict=True)
        ]
        reconstructed = torch.cat(answers).unflatten(0, (len(x), self.num_candidates))  # [B, N, K]
        return torch.cat([reconstructed, self._classify(x).unsqueeze(1)], dim=1)

    def _classify(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.classifier(images).cpu()
        logits = logits.float() if logits.dtype.itemsize < 4 else logits  # half precision has no business in phi
        if logits.ndim != 2 or len(logits) != len(images) or logits.shape[1] == 0:
            raise ValueError(f"the classifier answered {tuple(logits.shape)}, expected logits [{len(images)}, K]")
        if not torch.isfinite(logits).all():
            raise ValueError("the classifier answered NaN or infinite logits: there is no label to keep")
        return logits


def _check_interval(interval: tuple[float, float]) -> None:
    lo, hi = interval
    if tuple(interval) != tuple(EVERYWHERE) and not -math.inf < lo <= hi < math.inf:
        raise ValueError(f"interval must be two finite numbers lo <= hi, or EVERYWHERE, not {tuple(interval)}")


def _check_images(x: torch.Tensor) -> None:
    if x.ndim != 4 or len(x) == 0 or not x.is_floating_point():
        raise ValueError(f"expected float images [B, C, H, W] with B >= 1, found {x.dtype} {tuple(x.shape)}")
    if not (x.min() >= 0 and x.max() <= 1):  # written so that NaN fails too
        raise ValueError("expected images in [0, 1], without normalisation: that is the classifier's first layer")
