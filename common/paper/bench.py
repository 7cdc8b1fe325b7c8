"""One dataset's classifiers, judged alone and behind any number of fences; each verdict is made once and kept.

Fences that differ in what they accept share one bank, so all scenarios cost what one costs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch

from common import __version__
from common.diffence import Rule
from common.diffence.measures import Fence
from common.evaluation.answers import FencedPopulation
from common.evaluation.judge import judge_side, resamples_of
from common.evaluation.protocols import HELD_OUT, PUBLISHED, Drawn, Protocol, draw
from common.evaluation.record import UnderProtocol
from common.evaluation.run import Settings, alone
from common.experiment import evaluate
from common.experiment.evaluate import Models
from common.experiment.experiment import Experiment
from common.runtime import config, storage
from common.runtime.errors import UserError
from common.runtime.modes import SCENARIOS
from common.runtime.subject import Subject

HELD = replace(HELD_OUT, published_attacks=True, with_correctness=False, chooses=False)
"""The paper's attacks, with every choice kept away from the samples that are scored."""
AS_PUBLISHED = PUBLISHED
"""The paper's attacks, as its code computes them."""
THRESHOLDS = replace(HELD_OUT, chosen=("confidence", "loss", "entropy", "modified_entropy"), chooses=False)
"""Those that need no training, for sweeps over many fences."""


class Judged(NamedTuple):
    """Verdicts on one classifier, alone and behind a fence."""

    without: UnderProtocol
    fenced: UnderProtocol


@dataclass(frozen=True)
class Bench:
    """Where an item asks for verdicts on a dataset's classifiers; those that are trained are there.

    experiment:  the dataset folder made ready
    other:       a diffusion model of other data, for the items that look at one
    """

    experiment: Experiment
    other: Path | None = None

    @property
    def name(self) -> str:
        return self.experiment.folder.name

    def fence(
        self, *, scenario: int | None = None, num_candidates: int | None = None, step: int | None = None
    ) -> Fence:
        """The paper's fence, with other values than configs/diffence.yaml has."""
        given = {
            "scenario": None if scenario is None else SCENARIOS[scenario],
            "num_candidates": num_candidates,
            "step": step,
        }
        changed = {name: value for name, value in given.items() if value is not None}
        return self.experiment.fence_config.model_copy(update=changed).of("paper")

    def models(self, subject: Subject) -> Models:
        evaluate.require_inputs(self.experiment, subject)
        return evaluate.load_models(self.experiment, self._settings(subject, 1))

    def judged(self, subject: Subject, protocol: Protocol, fences: Sequence[Fence]) -> list[Judged]:
        """Verdicts alone and behind each fence; read where they are kept, and made and kept where they are not."""
        models, found = self.models(subject), []
        most = max(fence.measures.num_candidates for fence in fences)
        of_raw = self._path(subject, models, protocol, None)
        for fence in fences:
            of_fence = self._path(subject, models, protocol, fence)
            without, fenced = _kept(of_raw), _kept(of_fence)
            if without is None or fenced is None:
                drawn = self.drawn(subject, protocol, fence, models=models, most=most)
                without = without or self._made(of_raw, drawn, None)
                fenced = fenced or self._made(of_fence, drawn, drawn.rule)
            found.append(Judged(without, fenced))
        return found

    def kept(self, subject: Subject, protocol: Protocol, fence: Fence) -> Judged | None:
        """The verdicts that were made already; None where one was not, and nothing is made."""
        models = self.models(subject)
        without, fenced = (_kept(self._path(subject, models, protocol, each)) for each in (None, fence))
        return None if without is None or fenced is None else Judged(without, fenced)

    def drawn(
        self, subject: Subject, protocol: Protocol, fence: Fence, *, models: Models | None = None, most: int = 0
    ) -> Drawn:
        """The candidates of a protocol's roles and the rule that is tuned; ``most``: that the bank has room for."""
        fenced = self.population(subject, fence, models=models, most=most)
        desc = f"purify {subject.defense}"
        return draw(fenced, protocol, self.experiment.evaluation_config, fence=fence, desc=desc)

    def population(
        self, subject: Subject, fence: Fence, *, models: Models | None = None, most: int = 0
    ) -> FencedPopulation:
        settings = self._settings(subject, max(most, fence.measures.num_candidates))
        return evaluate.fenced_population(self.experiment, settings, models or self.models(subject), fence=fence)

    def _settings(self, subject: Subject, most: int) -> Settings:
        """``most``: candidates that banks have room for."""
        own = self.experiment.fence_config
        fence = own.model_copy(update={"num_candidates": max(most, own.num_candidates)})
        return Settings(subject, fence, self.experiment.evaluation_config)

    def _made(self, path: Path, drawn: Drawn, rule: Rule | None) -> UnderProtocol:
        """The verdict on one side, which is kept."""
        config, seed = self.experiment.evaluation_config, self.experiment.seed
        resamples = resamples_of(drawn, config, seed=seed)
        found = alone(judge_side(drawn, rule, resamples, config, seed=seed), resamples.test)
        if not {attack.name for attack in drawn.protocol.attacks} & found.not_run.keys():  # a package may be missing
            storage.write_json(path, storage.with_checksum(found.model_dump(mode="json")))
        return found

    def _path(self, subject: Subject, models: Models, protocol: Protocol, fence: Fence | None) -> Path:
        """Of a verdict, named by everything that it depends on: without a fence that is no diffusion model."""
        read = [models.defended.file, models.partition] if fence is None else models.read
        of = {
            **self._computed,
            "subject": str(subject),
            "files": [file.sha256 for file in read],
            "defense": models.defended.settings,
            "fence": fence and fence.model_dump(),
            "protocol": asdict(protocol),
        }
        return self.experiment.folder.paper / f"{storage.digest(of)}.json"

    @cached_property
    def _computed(self) -> dict[str, Any]:
        compute = self.experiment.compute["diffusion"]
        return {
            "version": __version__,
            "seed": self.experiment.seed,
            "partition": self.experiment.partition.key,
            "classifier": self.experiment.classifier_config.model_dump(),
            "normalisation": self.experiment.normalisation,
            "evaluation": self.experiment.evaluation_config.model_dump(),
            "device": compute.device.type,
            "precision": compute.precision,
            "torch": torch.__version__,
        }


class Case(NamedTuple):
    """A classifier that an item asks verdicts on, behind fences that draw from one bank."""

    bench: Bench
    subject: Subject
    protocol: Protocol
    fences: Sequence[Fence]

    def judged(self) -> list[Judged]:
        """By fence."""
        return self.bench.judged(self.subject, self.protocol, self.fences)

    @property
    def only(self) -> Judged:
        """Of a case of one fence."""
        (found,) = self.judged()
        return found


def _kept(path: Path) -> UnderProtocol | None:
    """None where it is not there, or damaged: it is made anew."""
    try:
        content = dict(storage.read_json(path))
        if content.pop(storage.CHECKSUM, None) != storage.json_sha256(content):
            return None
        return config.parse(content, UnderProtocol, source=str(path))
    except (OSError, ValueError, TypeError, UserError):
        return None


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
