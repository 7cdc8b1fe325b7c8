"""The fence: an nn.Module round any classifier of images in [0, 1]."""

from collections.abc import Callable
from typing import Annotated, get_args

import torch
from pydantic import Field
from torch import nn

from common.diffence.candidates import NOTHING, blank, complete
from common.diffence.door import Answers, images_in, logits_of, type_of
from common.diffence.noise import candidate_noise
from common.diffence.rule import EVERYWHERE, Candidates, Interval, check_interval, select, take
from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import last_step
from common.runtime import rng
from common.runtime.config import Batch, Positive, Strict
from common.runtime.device import PassSize, move, pass_size, query_size
from common.runtime.modes import Noising, ScenarioSetting

MOST_CANDIDATES = 10_000


class DiffenceConfig(Strict):
    """configs/diffence.yaml"""

    num_candidates: Annotated[int, Field(gt=0, le=MOST_CANDIDATES)]  # N
    step: Positive  # T of the paper: how far to noise
    scenario: ScenarioSetting  # what the defender knows: 1, members and non-members; 2, members; 3, neither
    noising: Noising  # see schedule.published_noise for what the published code does
    group_size: Batch  # samples purified and saved together


class Diffence(nn.Module):
    """A classifier of images in [0, 1] behind the fence: forward(x [B, C, H, W]) -> logits [B, K].

    The argmax is the classifier's own for every input. The answer to an image depends on the image and the seed
    alone, but for rounding (a network rounds differently for other numbers of images at once), so asking again gives
    an attacker nothing. Keep the seed secret in a deployment.

    classifier:      images [B, C, H, W] in [0, 1] -> logits [B, K]; any module or function
    denoiser:        the diffusion model with its schedule
    interval:        from ``tune_interval``; the default accepts the first candidate that keeps the label
    num_candidates:  N, reconstructions per image
    step:            T, the diffusion step to which images are noised
    noising:         "ddpm", or "published" for what the published code does (see ``Denoiser.purify``)
    answers:         what the classifier answers: "logits", or "probabilities", of which the logarithm is taken
    batch_size:      images per pass of the diffusion model, smaller ones being filled up, so that on a CPU an answer
                     has the same bits in any company; the default is what suits the device best: few at a time
                     where few are asked, so that one query takes little longer than the passes it needs
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
        answers: Answers = "logits",
        seed: int = 0,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        check_interval(interval)
        if noising not in get_args(Noising):
            raise ValueError(f"noising must be one of {', '.join(get_args(Noising))}, not {noising!r}")
        if answers not in get_args(Answers):
            raise ValueError(f"answers must be one of {', '.join(get_args(Answers))}, not {answers!r}")
        for name, value in (("step", step), ("num_candidates", num_candidates), ("seed", seed)):
            if type(value) is not int:
                raise ValueError(f"{name} must be a whole number, not {value!r}")
        if not 0 <= seed < 2**63:
            raise ValueError(f"seed must be 0 … 2^63 - 1, not {seed}")
        last = last_step(denoiser.num_steps, noising)
        if not 1 <= step <= last:
            raise ValueError(f"step must be 1 … {last}, the diffusion model's steps, not {step}")
        if not 1 <= num_candidates <= MOST_CANDIDATES or (batch_size is not None and batch_size < 1):
            raise ValueError(
                f"num_candidates ({num_candidates}) and batch_size ({batch_size}) must be positive, and the first "
                f"at most {MOST_CANDIDATES}"
            )
        self.classifier = classifier
        self.denoiser = denoiser
        self.interval = Interval(*interval)
        self.num_candidates = num_candidates
        self.step = step
        self.noising: Noising = noising
        self.answers: Answers = answers
        self._has_answered = False
        self.seed = seed
        self.batch_size = batch_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        candidates = self._draw(x, query_size, until=self.interval)
        return take(candidates, select(candidates, self.interval)).to(x.device)

    def candidates(self, x: torch.Tensor) -> Candidates:
        """All candidates of images [B, C, H, W] in [0, 1], on the CPU."""
        return self.draw(x, until=None)

    @torch.no_grad()
    def raw(self, x: torch.Tensor) -> torch.Tensor:
        """The classifier's own logits of images [B, C, H, W] in [0, 1], on the CPU: [B, K]."""
        x = images_in(x, classifier=self.classifier, shape=self.denoiser.image_shape)
        self.eval()
        return self._with_raw(x, None, self._size(x, pass_size)).logits[:, -1]

    def draw(
        self,
        x: torch.Tensor,
        *,
        until: Interval | None,
        known: Candidates | None = None,
        tick: Callable[[int], object] = lambda count: None,
    ) -> Candidates:
        """Candidates of images [B, C, H, W] in [0, 1], on the CPU, each image's in order until one is accepted.

        ``select`` answers from them as from all candidates.

        until:  the interval whose first candidate inside ends an image's draws; None draws them all
        known:  what an earlier call gave for the same images, which is not computed again
        tick:   called with the number of images that have just got all they need

        Puts classifier and diffusion model into evaluation mode, whatever the caller left them in. A module behind a
        plain function is out of reach: put that one into evaluation mode yourself.

        Raises ValueError where x is not such images, or the classifier's answers are no finite logits.
        """
        return self._draw(x, pass_size, until=until, known=known, tick=tick)

    @torch.no_grad()
    def _draw(
        self,
        x: torch.Tensor,
        size_on: Callable[..., PassSize],
        *,
        until: Interval | None,
        known: Candidates | None = None,
        tick: Callable[[int], object] = lambda count: None,
    ) -> Candidates:
        x = images_in(x, classifier=self.classifier, shape=self.denoiser.image_shape)
        self.eval()
        size = self._size(x, size_on)
        keys = [rng.sample_key(image) for image in x]
        return complete(
            self._with_raw(x, known, size),
            lambda rows, places: self._reconstruct(x, keys, rows, places, size),
            until=until,
            size=size,
            tick=tick,
        )

    def _size(self, x: torch.Tensor, size_on: Callable[..., PassSize]) -> PassSize:
        if self.batch_size:
            return PassSize(self.batch_size, self.batch_size)
        return size_on(x.device, pixels=x[0, 0].numel())

    def _with_raw(self, x: torch.Tensor, known: Candidates | None, size: PassSize) -> Candidates:
        """The known candidates, or none, and the logits of x itself in their place."""
        new = torch.ones(len(x), dtype=torch.bool) if known is None else known.drawn == NOTHING
        if known is not None and not new.any():
            return known
        parts = x[new.to(x.device)].split(size.most)
        raw = torch.cat([self._classify(part[size.padded(len(part))])[: len(part)] for part in parts])
        if known is None:
            known = blank(len(x), count=self.num_candidates, num_classes=raw.shape[1])
        logits = known.logits.to(raw.dtype, copy=True)
        logits[new, -1] = raw
        return Candidates(logits, known.drawn.clamp(min=0))

    def _reconstruct(
        self, x: torch.Tensor, keys: list[bytes], rows: list[int], places: list[int], size: PassSize
    ) -> torch.Tensor:
        """One pass: logits [n, K] of candidate ``places[i]`` of image ``rows[i]``."""
        draws = [(keys[row], place) for row, place in zip(rows, places, strict=True)]
        noise = candidate_noise(draws, x.shape[1:], seed=self.seed)[size.padded(len(rows))]
        images = x[torch.tensor(rows)[size.padded(len(rows))].to(x.device)]
        noise = move(noise.to(x.dtype), x.device)
        purified = self.denoiser.purify(images, noise, step=self.step, noising=self.noising)
        return self._classify(purified)[: len(rows)]

    def _classify(self, images: torch.Tensor) -> torch.Tensor:
        own = type_of(self.classifier)
        answer = self.classifier(images if own is None else images.to(own))
        logits = logits_of(answer, count=len(images), answers=self.answers, first=not self._has_answered)
        self._has_answered = True
        return logits
