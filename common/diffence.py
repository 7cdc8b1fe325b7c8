"""Diffence (Peng, Naseh, Houmansadr, NDSS 2025): answer with a reconstruction that does not betray membership.

    here              paper
    y_0               the label of the raw input, which is what the fenced classifier always answers
    candidates        the classifier's logits on N reconstructions of x, and on x itself, the last resort
    phi               logit-scaled confidence, log p_top - log(1 - p_top)
    interval          [lo, hi] of phi in which members and non-members look alike

Reading order: ``Diffence.draw``, ``select``, then ``tune_interval`` for what the defender prepares.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from common import interval_search, rng
from common.config import Noising
from common.device import PassSize, move, pass_size
from common.diffusion import Denoiser, last_step
from common.errors import UserError


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

    Raises ValueError where the choice depends on candidates that were not drawn (NaN).
    """
    _check_interval(interval)
    keepers = _phi_of_keepers(candidates)
    undrawn = candidates.isnan().any(dim=-1).any(dim=-1)
    if (undrawn & ~_inside(keepers[:, :-1], interval).any(dim=1)).any():
        raise ValueError("the choice depends on candidates that were not drawn")
    return _select(keepers, interval)


def _phi_of_keepers(candidates: torch.Tensor) -> torch.Tensor:
    """phi of each candidate that keeps the raw label, NaN for the others and what was not drawn: float64 [B, N + 1]."""
    labels = candidates.argmax(dim=-1)  # of equal logits the first counts, for raw answer and candidates alike
    return phi(candidates).where(labels == labels[:, -1:], math.nan)


def _inside(keepers: torch.Tensor, interval: Interval) -> torch.Tensor:
    return (keepers >= interval.lo) & (keepers <= interval.hi)  # false for NaN


def _select(keepers: torch.Tensor, interval: Interval) -> torch.Tensor:
    inside = _inside(keepers, interval)
    first = inside.byte().argmax(dim=1)
    if interval == EVERYWHERE:
        return first
    distance = (keepers - (interval.lo + interval.hi) / 2).abs().nan_to_num(nan=math.inf)
    return first.where(inside.any(dim=1), distance.argmin(dim=1))


def reconstructions_needed(candidates: torch.Tensor, interval: Interval) -> torch.Tensor:
    """Reconstructions that the choice needs, drawn in order: up to the first accepted one, or all N; int64 [B]."""
    accepted = _inside(_phi_of_keepers(candidates)[:, :-1], interval)
    refused_before = (accepted.cumsum(dim=1) == 0).sum(dim=1)
    return (refused_before + 1).clamp(max=accepted.shape[1])


def unsettled(candidates: torch.Tensor, rows: Sequence[int], until: Interval | None) -> list[int]:
    """Those of the rows that need more candidates: some are missing, and none drawn so far is accepted."""
    drawn = candidates[list(rows)][:, :-1]
    more = drawn[:, :, 0].isnan().any(dim=1)
    if until is not None:
        more &= ~_inside(_phi_of_keepers(candidates[list(rows)])[:, :-1], until).any(dim=1)
    return [row for row, open_ in zip(rows, more.tolist(), strict=True) if open_]


def _next_draws(candidates: torch.Tensor, waiting: list[int], *, room: int) -> tuple[list[int], list[int]]:
    """Images, and the candidate to draw of each: the next one, and where there is room the ones after it."""
    first = waiting[:room]
    count = candidates.shape[1] - 1
    drawn = (~candidates[first][:, :-1, 0].isnan()).sum(dim=1).tolist()
    draws = ((row, done + ahead) for ahead in range(count) for row, done in zip(first, drawn, strict=True))
    chosen = itertools.islice((draw for draw in draws if draw[1] < count), room)
    rows, places = zip(*chosen, strict=True)
    return list(rows), list(places)


def take(candidates: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The chosen logits: [B, N + 1, K], [B] -> [B, K]."""
    return candidates[torch.arange(len(candidates)), index]


def tune_interval(members: torch.Tensor, non_members: torch.Tensor, *, scenario: int) -> Interval:
    """The interval for what the defender knows; candidates [n, N + 1, K] of known members and non-members.

    1, both: of all pairs from a grid between the least member phi and the greatest non-member phi, the one whose
    answers have the least Jensen-Shannon distance between members and non-members. 2, members only: [min, mean] of
    their phi. 3, neither: no selection is possible, and the first candidate that keeps the label answers.
    Everywhere phi is that of the candidates that keep the label, the raw one included.

    Raises UserError where the known samples allow no choice, and ValueError where their candidates were not all drawn.
    """
    if scenario == 3:
        return EVERYWHERE
    _require_drawn(members)
    known = _phi_of_keepers(members)
    least = float(known.nan_to_num(nan=math.inf).min())
    if scenario == 2:
        return Interval(least, max(least, float(known.nanmean())))  # equal values have a mean that rounding lowers
    _require_drawn(non_members)
    ends = interval_search.most_alike(known.numpy(), _phi_of_keepers(non_members).numpy())
    if ends is None:
        raise UserError(
            "no interval makes the known members and non-members look alike at all: their confidences "
            "do not overlap. Give more known samples (--num-sample) or use --scenario 2"
        )
    return Interval(*ends)


def _require_drawn(candidates: torch.Tensor) -> None:
    if candidates.isnan().any():
        raise ValueError("the interval depends on all candidates, and some were not drawn")


class Diffence(nn.Module):
    """A classifier of images in [0, 1] behind the fence: forward(x [B, C, H, W]) -> logits [B, K].

    The argmax is the classifier's own for every input. The answer to an image depends on the image and the seed
    alone (on a GPU but for rounding), so asking again gives an attacker nothing. Keep the seed secret in a deployment.

    classifier:      images [B, C, H, W] in [0, 1] -> logits [B, K]; any module or function
    denoiser:        the diffusion model with its schedule
    interval:        from ``tune_interval``; the default accepts the first candidate that keeps the label
    num_candidates:  N, reconstructions per image
    step:            T, the diffusion step to which images are noised
    noising:         "ddpm", or "published" for what the published code does (see ``Denoiser.purify``)
    batch_size:      images per pass of the diffusion model, smaller ones being filled up; the default suits the device
    """

    def __init__(
        self,
        classifier: Callable[[torch.Tensor], torch.Tensor],
        denoiser: Denoiser,
        *,
        interval: Interval = EVERYWHERE,
        num_candidates: int = 30,
        step: int = 160,
        noising: Noising = "ddpm",
        seed: int = 0,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        _check_interval(interval)
        last = last_step(denoiser.num_steps, noising)
        if not 1 <= step <= last:
            raise ValueError(f"step must be 1 … {last}, the diffusion model's steps, not {step}")
        if num_candidates < 1 or (batch_size is not None and batch_size < 1):
            raise ValueError(f"num_candidates ({num_candidates}) and batch_size ({batch_size}) must be positive")
        self.classifier = classifier
        self.denoiser = denoiser
        self.interval = Interval(*interval)
        self.num_candidates = num_candidates
        self.step = step
        self.noising: Noising = noising
        self.seed = seed
        self.batch_size = batch_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        candidates = self.draw(x, until=self.interval)
        return take(candidates, select(candidates, self.interval)).to(x.device)

    def candidates(self, x: torch.Tensor) -> torch.Tensor:
        """All candidates of images [B, C, H, W] in [0, 1]: logits [B, N + 1, K] on the CPU, the raw ones last."""
        return self.draw(x, until=None)

    @torch.no_grad()
    def draw(
        self,
        x: torch.Tensor,
        *,
        until: Interval | None,
        known: torch.Tensor | None = None,
        tick: Callable[[int], object] = lambda count: None,
    ) -> torch.Tensor:
        """Candidates of images [B, C, H, W] in [0, 1], each image's in order until one is accepted.

        Logits [B, N + 1, K] on the CPU, the raw ones last, NaN where nothing was drawn: ``select`` answers from them
        as from all candidates.

        until:  the interval whose first candidate inside ends an image's draws; None draws them all
        known:  what an earlier call gave for the same images, which is not computed again
        tick:   called with the number of images that have just got all they need

        Puts classifier and diffusion model into evaluation mode, whatever the caller left them in.

        Raises ValueError where x is not such images or the classifier's logits are not finite.
        """
        _check_images(x)
        self.eval()
        size = (
            PassSize(self.batch_size, self.batch_size)
            if self.batch_size
            else pass_size(x.device, pixels=x[0, 0].numel())
        )
        candidates = self._with_raw(x, known, size)
        keys = [rng.sample_key(image) for image in x]
        waiting = unsettled(candidates, range(len(x)), until)
        tick(len(x) - len(waiting))
        while waiting:
            # room that is left beside each waiting image's next candidate is filled by the ones after it
            rows, places = _next_draws(candidates, waiting, room=size.room(len(waiting)))
            candidates[rows, places] = self._reconstruct(x, keys, rows, places, size)
            touched = set(rows)
            done = touched.difference(unsettled(candidates, sorted(touched), until))
            waiting = [row for row in waiting if row not in done]
            tick(len(done))
        return candidates

    def _with_raw(self, x: torch.Tensor, known: torch.Tensor | None, size: PassSize) -> torch.Tensor:
        """The known candidates, or none, and the logits of x itself in their place."""
        new = torch.ones(len(x), dtype=torch.bool) if known is None else known[:, -1].isnan().any(dim=1)
        if known is not None and not new.any():
            return known.clone()
        parts = x[new.to(x.device)].split(size.most)
        raw = torch.cat([self._classify(part[size.padded(len(part))])[: len(part)] for part in parts])
        if known is None:
            known = raw.new_full((len(x), self.num_candidates + 1, raw.shape[1]), math.nan)
        candidates = known.clone()
        candidates[new, -1] = raw
        return candidates

    def _reconstruct(
        self, x: torch.Tensor, keys: list[bytes], rows: list[int], places: list[int], size: PassSize
    ) -> torch.Tensor:
        """One pass: logits [n, K] of candidate ``places[i]`` of image ``rows[i]``."""
        draws = [(keys[row], place) for row, place in zip(rows, places, strict=True)]
        noise = rng.candidate_noise(draws, x.shape[1:], seed=self.seed)[size.padded(len(rows))]
        images = x[torch.tensor(rows)[size.padded(len(rows))].to(x.device)]
        noise = move(noise.to(x.dtype), x.device)
        purified = self.denoiser.purify(images, noise, step=self.step, noising=self.noising)
        return self._classify(purified)[: len(rows)]

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
