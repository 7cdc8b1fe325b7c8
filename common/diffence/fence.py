"""The fence: an nn.Module round any classifier of images in [0, 1]."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from common.diffence import saving
from common.diffence.candidates import NOTHING, blank, complete
from common.diffence.door import ask, check_modes, check_numbers, evaluating, images_in
from common.diffence.noise import candidate_noise, ranks
from common.diffence.rule import EVERYWHERE, Candidates, Interval, Rule, answer, check_rule
from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import fence_steps
from common.runtime import rng
from common.runtime.device import PassSize, move, pass_size, query_size
from common.runtime.images import on_grid
from common.runtime.modes import Answers, Noise, Noising, Work

Classifier = Callable[[torch.Tensor], torch.Tensor]
TOGETHER = 16  # passes that are classified by one call, where the classifier can do that


class Diffence(nn.Module):
    """A classifier of images in [0, 1] behind the fence: forward(x [B, C, H, W]) -> logits [B, K].

    The argmax is the classifier's own for every input, but where ``rule`` is ``Averaging``, which may change it. The
    answer to an image depends on the image and the key alone, but for rounding (a network rounds differently for other
    numbers of images at once), so asking again gives an attacker nothing. Images are purified as they are on the grid
    of 256 grey levels, so images that are less than half a level apart have the same reconstructions.

    classifier:      images [B, C, H, W] in [0, 1] -> logits [B, K]; any module or function
    denoiser:        the diffusion model with its schedule
    rule:            how candidates become an answer: an ``Interval``, from ``tune_interval``, or what ``match`` gives;
                     the default accepts the first candidate that keeps the label
    num_candidates:  N, reconstructions per image
    step:            T, the diffusion step to which images are noised
    noising:         "ddpm", or "published" for what the published code does (see ``Denoiser.purify``)
    noise:           "per_image": each image has noise of its own, so near-copies are new draws, which can be averaged;
                     "shared": all have the same, so near-copies are answered nearly alike
    work:            "lazy": reconstructions are drawn until one is accepted, so the time of an answer tells how many
                     that took; "constant": always all N, which takes N passes instead of a quarter of them
    key:             names the noise: the seed of an evaluation, or in service at least 16 secret bytes, such as
                     ``secrets.token_bytes(32)``. Whoever has it can undo the noise
    answers:         what the classifier answers: "logits", or "probabilities", of which the logarithm is taken
    batch_size:      images per pass of the diffusion model, smaller ones being filled up, so that on a CPU an answer
                     has the same bits in any company; the default is what suits the device best: few at a time
                     where few are asked, so that one query takes little longer than the passes it needs
    """

    def __init__(
        self,
        classifier: Classifier,
        denoiser: Denoiser,
        *,
        rule: Rule = EVERYWHERE,
        num_candidates: int = 30,
        step: int = 160,
        noising: Noising = "ddpm",
        noise: Noise = "per_image",
        work: Work = "lazy",
        answers: Answers = "logits",
        key: int | bytes = 0,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        check_rule(rule)
        check_modes(noising=(noising, Noising), noise=(noise, Noise), work=(work, Work), answers=(answers, Answers))
        check_numbers(step=step, num_candidates=num_candidates, batch_size=batch_size, key=key)
        first, last = fence_steps(denoiser.num_steps, noising, only=denoiser.only_steps)
        if not first <= step <= last:
            raise ValueError(f"step must be {first} … {last}, the diffusion model's steps, not {step}")
        self.classifier = classifier
        self.denoiser = denoiser
        self.rule: Rule = Interval(*rule) if isinstance(rule, tuple) else rule
        self.num_candidates = num_candidates
        self.step = step
        self.noising: Noising = noising
        self.noise: Noise = noise
        self.work: Work = work
        self.answers: Answers = answers
        self._has_answered = False
        self.key = key
        self.batch_size = batch_size

    def save(self, folder: Path | str, *, copy: bool = True) -> None:
        """Write all but the classifier into a new folder; ``copy``: the diffusion model too. Raises UserError."""
        saving.write(self, Path(folder), copy=copy)

    @classmethod
    def load(
        cls, folder: Path | str, classifier: Classifier, *, denoiser: Denoiser | None = None, device: str = "auto"
    ) -> "Diffence":
        """What ``save`` wrote, in front of a classifier on ``device``; ``denoiser`` where that was not copied.

        Raises UserError where the folder is damaged, or of another diffusion model."""
        return cls(classifier, **saving.read(Path(folder), denoiser=denoiser, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        candidates = self._draw(x, query_size, until=self.rule if self.work == "lazy" else None)
        return answer(candidates, self.rule).logits.to(x.device)

    def candidates(self, x: torch.Tensor) -> Candidates:
        """All candidates of images [B, C, H, W] in [0, 1], on the CPU."""
        return self.draw(x, until=None)

    @torch.no_grad()
    def labelling(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [B, K], on the CPU, that have the classifier's own labels, and perhaps nothing else of its answers.

        An output defence that keeps labels is spared, as its ``labelled_by`` says.
        """
        x = images_in(x, classifier=self.classifier, shape=self.denoiser.image_shape)
        evaluating(self)
        passes, by = self._size(x, query_size).passes(x), getattr(self.classifier, "labelled_by", self.classifier)
        return ask(by, passes, answers=self.answers, first=False)[: len(x)]

    def draw(
        self,
        x: torch.Tensor,
        *,
        until: Rule | None,
        known: Candidates | None = None,
        tick: Callable[[int], object] = lambda count: None,
    ) -> Candidates:
        """Candidates of images [B, C, H, W] in [0, 1], on the CPU, each image's in order until one is accepted.

        ``rule.answer`` answers from them as from all candidates.

        until:  the rule whose first accepted candidate ends an image's draws; None draws them all
        known:  what an earlier call gave for the same images, which is not computed again
        tick:   called with the number of images that have just got all they need

        Puts classifier and diffusion model into evaluation mode, whatever the caller left them in. A module behind a
        plain function is out of reach: put that one into evaluation mode yourself.

        Raises ValueError where x is not such images, or the classifier's answers are no finite logits.
        """
        return self._draw(x, pass_size, until=until, known=known, tick=tick)

    @torch.no_grad()
    def reconstructions(self, x: torch.Tensor, *, tick: Callable[[int], object] = lambda count: None) -> torch.Tensor:
        """All N reconstructions of images [B, C, H, W] in [0, 1], on the CPU: [B, N, C, H, W] in [0, 1].

        They do not depend on the classifier, so one set serves several (see ``classified``).

        tick:  called with the number of images whose reconstructions have just been finished
        """
        x = images_in(x, classifier=self.classifier, shape=self.denoiser.image_shape)
        evaluating(self)
        size, rounded, keys = self._size(x, pass_size), on_grid(x), [rng.sample_key(image) for image in x]
        draws, found, finished = list(itertools.product(range(len(x)), range(self.num_candidates))), [], 0
        for start in range(0, len(draws), size.most):
            rows, places = zip(*draws[start : start + size.most], strict=True)
            found.append(self._purify(rounded, keys, rows, places, size)[: len(rows)].cpu())
            done = (start + len(rows)) // self.num_candidates
            tick(done - finished)
            finished = done
        return torch.cat(found).unflatten(0, (len(x), self.num_candidates))

    @torch.no_grad()
    def classified(self, x: torch.Tensor, reconstructions: torch.Tensor) -> Candidates:
        """The candidates of images [B, C, H, W] whose reconstructions [B, N, C, H, W] are known, on the CPU."""
        x = images_in(x, classifier=self.classifier, shape=self.denoiser.image_shape)
        evaluating(self)
        size = self._size(x, pass_size)
        logits = self._in_passes(reconstructions.flatten(0, 1), size, x.device)
        raw = self._with_raw(x, None, size).logits[:, -1:]
        candidates = torch.cat([logits.unflatten(0, reconstructions.shape[:2]), raw], dim=1)
        return Candidates(candidates, torch.full((len(x),), reconstructions.shape[1]), self.ranks(x))

    def ranks(self, x: torch.Tensor) -> torch.Tensor:
        """By which a rule may choose what it wants of images [B, C, H, W] in [0, 1]: float64 [B]; see matching.py."""
        keys = [rng.sample_key(image) for image in x]
        return ranks(on_grid(x), keys, seed=self.key, noise=self.noise)

    @torch.no_grad()
    def _draw(
        self,
        x: torch.Tensor,
        size_on: Callable[..., PassSize],
        *,
        until: Rule | None,
        known: Candidates | None = None,
        tick: Callable[[int], object] = lambda count: None,
    ) -> Candidates:
        x = images_in(x, classifier=self.classifier, shape=self.denoiser.image_shape)
        evaluating(self)
        size = self._size(x, size_on)
        if until is None and size.least == size.most and (known is None or (known.drawn == NOTHING).all()):
            return self.classified(x, self.reconstructions(x, tick=tick))
        keys, rounded = [rng.sample_key(image) for image in x], on_grid(x)
        return complete(
            replace(self._with_raw(x, known, size), rank=self.ranks(x)),
            lambda rows, places: self._reconstruct(rounded, keys, rows, places, size),
            until=until,
            size=size,
            tick=tick,
        )

    def _size(self, x: torch.Tensor, size_on: Callable[..., PassSize]) -> PassSize:
        if self.batch_size:
            return PassSize(self.batch_size, self.batch_size)
        _, height, width = self.denoiser.shape_of(x.shape[1:])
        return size_on(x.device, pixels=height * width)

    def _with_raw(self, x: torch.Tensor, known: Candidates | None, size: PassSize) -> Candidates:
        """The known candidates, or none, and the logits of x itself in their place."""
        new = torch.ones(len(x), dtype=torch.bool) if known is None else known.drawn == NOTHING
        if known is not None and not new.any():
            return known
        raw = self._in_passes(x[new.to(x.device)], size, x.device)
        if known is None:
            known = blank(len(x), count=self.num_candidates, num_classes=raw.shape[1])
        logits = known.logits.to(raw.dtype, copy=True)
        logits[new, -1] = raw
        return replace(known, logits=logits, drawn=known.drawn.clamp(min=0))

    def _reconstruct(
        self, x: torch.Tensor, keys: list[bytes], rows: list[int], places: list[int], size: PassSize
    ) -> torch.Tensor:
        """One pass: logits [n, K] of candidate ``places[i]`` of image ``rows[i]``."""
        return self._classify(self._purify(x, keys, rows, places, size))[: len(rows)]

    def _purify(
        self, x: torch.Tensor, keys: Sequence[bytes], rows: Sequence[int], places: Sequence[int], size: PassSize
    ) -> torch.Tensor:
        """One pass, filled up: the reconstructions themselves."""
        draws = [(keys[row], place) for row, place in zip(rows, places, strict=True)]
        padded = size.padded(len(rows))
        noise = candidate_noise(draws, self.denoiser.shape_of(x.shape[1:]), seed=self.key, noise=self.noise)[padded]
        images = x[torch.tensor(rows)[padded].to(x.device)]
        noise = move(noise.to(x.dtype), x.device)
        return self.denoiser.purify(images, noise, step=self.step, noising=self.noising)

    def _in_passes(self, images: torch.Tensor, size: PassSize, device: torch.device) -> torch.Tensor:
        """Logits [n, K] of images [n, C, H, W], in full passes."""
        passes = size.passes(images)
        groups = (passes[start : start + TOGETHER] for start in range(0, len(passes), TOGETHER))
        return torch.cat([self._classify(*(move(part, device) for part in group)) for group in groups])[: len(images)]

    def _classify(self, *passes: torch.Tensor) -> torch.Tensor:
        logits = ask(self.classifier, passes, answers=self.answers, first=not self._has_answered)
        self._has_answered = True
        return logits
