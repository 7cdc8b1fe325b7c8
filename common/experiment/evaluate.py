"""Attack a trained classifier of a dataset, alone and behind its fence, and report both."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import get_args

import torch

from common.data import membership
from common.diffence.door import Refused
from common.diffence.measures import Fence
from common.evaluation import departures, measures, origin
from common.evaluation.answers import FencedPopulation
from common.evaluation.bank import Bank
from common.evaluation.latency import milliseconds_per_query
from common.evaluation.protocols import Protocol
from common.evaluation.record import UnderProtocol
from common.evaluation.run import Circumstances, Settings, evaluate, report
from common.experiment.beside import beside
from common.experiment.experiment import Experiment
from common.experiment.fence import build_fence, load_diffusion_model, require_diffusion_model
from common.experiment.plan import Item, of_results
from common.experiment.subjects import Defended, load_classifier
from common.formats.diffusion_model import DiffusionModel
from common.reports import departures as departures_report
from common.reports import runs, write
from common.runtime import distributed, ownership, rng, storage
from common.runtime.errors import UserError
from common.runtime.modes import Noising, TableStyle
from common.runtime.paths import PAGE
from common.runtime.storage import FileRead
from common.runtime.subject import Subject

READS = ("data", "classifier", "diffence", "evaluation")  # YAML files
BANK_FORMAT = 4  # raised when the same inputs come to give other logits, so that no older bank is taken for a new one


@dataclass(frozen=True)
class Models:
    """What an evaluation works with, and the files that it was read from."""

    defended: Defended
    diffusion: DiffusionModel
    partition: FileRead

    @property
    def files(self) -> list[FileRead]:
        return [self.defended.file, *self.diffusion.files]

    @property
    def read(self) -> list[FileRead]:
        return [*self.files, self.partition]


def settings_for(experiment: Experiment, subject: Subject, protocols: Sequence[Protocol]) -> Settings:
    return Settings(subject, experiment.fence_config, experiment.evaluation_config, protocols)


def plan(experiment: Experiment, subject: Subject, *, name: str | None = None) -> list[Item]:
    """The two result folders, or those in runs/ of a name. Raises UserError where there is one of that name."""
    folders = [experiment.folder.results(subject, diffence=diffence) for diffence in (False, True)]
    folders = folders if name is None else [runs.named(folder, name) for folder in folders]
    return [of_results(folder / "report.json", experiment.folder) for folder in folders]


def run(
    experiment: Experiment, settings: Settings, *, latex: bool = False, csv: bool = False, name: str | None = None
) -> str | None:
    """Evaluate and write both result folders; the table. Of several processes the first does, the others get None.

    latex:  the tables for LaTeX too
    csv:    the scores of every sample too
    name:   of a folder in runs/ to write to, instead of the place of the latest evaluation
    """
    start = time.monotonic()
    require_inputs(experiment, settings.subject)
    targets = [experiment.folder.results(settings.subject, diffence=fenced) for fenced in (False, True)]
    if name is not None:
        runs.named(targets[0], name)
    models = load_models(experiment, settings)
    with ownership.owned(targets[0]), ownership.owned(targets[1]):
        with _naming(experiment, models):
            names = dict.fromkeys(protocol.fence for protocol in settings.protocols)
            fences = {
                name: fenced_population(experiment, settings, models, fence=settings.fence.of(name)) for name in names
            }
            found = evaluate(fences, settings, seed=experiment.seed)
            if found is None:
                return None
            milliseconds = milliseconds_per_query(fences[found.main.protocol.fence], found.main)
        about = Circumstances(
            dataset=experiment.folder.name,
            seed=experiment.seed,
            privacy=models.defended.privacy,
            membership=models.defended.membership(experiment.partition, models.diffusion),
            unchecked=unchecked(experiment, models),
            inputs={experiment.folder.shown(file.path): file.sha256 for file in models.read},
            seconds=round(time.monotonic() - start, 1),
            milliseconds_per_query=milliseconds,
            run=name or runs.name_of(experiment.changed_settings(READS), seed=experiment.seed),
            made=origin.made(experiment.compute["diffusion"]),
        )
        without, fenced = (report(found, settings, about, fenced=fenced) for fenced in (False, True))
        seen = beside(experiment, settings, found, models.diffusion.denoiser)
        table = write.write(experiment.folder, found, without, fenced, beside=seen, latex=latex, csv=csv, name=name)
    alone, behind = milliseconds
    where = f"{experiment.device}, {torch.get_num_threads()} threads"
    written = targets[1] if name is None else targets[1] / "runs" / name
    page = experiment.folder.shown(written / PAGE)
    return (
        f"{table}\nOne query at a time takes {alone:.1f} ms without Diffence, {behind:.1f} ms with ({where}).\n"
        f"All of it on one page: {page}"
    )


def measure_departures(experiment: Experiment, settings: Settings, *, style: TableStyle) -> str | None:
    """The table of what each departure of the published code is worth; None in all processes but the first."""
    require_inputs(experiment, settings.subject)
    models, fenced = load_models(experiment, settings), {}
    for line in unchecked(experiment, models):
        distributed.say(line)
    for noising in get_args(Noising):
        fence = settings.fence.model_copy(update={"noising": noising})
        fenced[noising] = fenced_population(experiment, settings, models, fence=fence.of("paper"))
    with _naming(experiment, models):
        measured = departures.measure(
            fenced,
            settings,
            model=models.defended.settings,
            dataset=experiment.folder.name,
            seed=experiment.seed,
        )
    return None if measured is None else departures_report.table(measured, style=style)


def worth_of_measures(experiment: Experiment, settings: Settings) -> dict[str, UnderProtocol] | None:
    """What each measure of a fence leaves of the attacks, by its name; None in all processes but the first."""
    require_inputs(experiment, settings.subject)
    models = load_models(experiment, settings)
    for line in unchecked(experiment, models):
        distributed.say(line)

    def fenced(fence: Fence) -> FencedPopulation:
        return fenced_population(experiment, settings, models, fence=fence)

    with _naming(experiment, models):
        return measures.measure(fenced, settings, seed=experiment.seed)


@contextmanager
def _naming(experiment: Experiment, models: Models) -> Iterator[None]:
    """Names the files behind answers that no fence can work with, such as those of weights that overflow."""
    try:
        yield
    except Refused as error:
        classifier, diffusion = (experiment.folder.shown(file.path) for file in models.files[:2])
        raise UserError(f"{classifier}, or {diffusion} before it: {error}") from error


def require_inputs(experiment: Experiment, subject: Subject) -> None:
    """Raise UserError with the command that makes what is missing, before any work."""
    folder = experiment.folder
    folder.require(folder.partition, "python data_partition.py")
    folder.require(folder.classifier(subject), subject.training_command)
    require_diffusion_model(experiment)
    membership.require_in_use(folder.permutation, experiment.partition)


def load_models(experiment: Experiment, settings: Settings) -> Models:
    """The classifier and the diffusion model, each read once."""
    defended = load_classifier(experiment, settings.subject)
    diffusion = load_diffusion_model(experiment)
    partition = experiment.partition.file
    assert partition is not None
    return Models(defended, diffusion, partition)


def unchecked(experiment: Experiment, models: Models) -> list[str]:
    """A line that names the files which carry no checksum, where there are any."""
    names = [experiment.folder.shown(file.path) for file in models.read if file.checked is False]
    return [f"unchecked, since it carries no checksum: {', '.join(names)}"] if names else []


def fenced_population(experiment: Experiment, settings: Settings, models: Models, *, fence: Fence) -> FencedPopulation:
    """The dataset behind one of this classifier's fences, with the larger pool that answers near-copies."""
    many = max(settings.evaluation.near_copies.candidates, fence.measures.num_candidates)
    larger = fence.with_measures(num_candidates=many)
    return FencedPopulation(
        experiment.population,
        _bank(experiment, settings, models, fence, seed=experiment.seed),
        _bank(experiment, settings, models, larger, seed=rng.derive_seed(experiment.seed, "near copies")),
    )


def _bank(experiment: Experiment, settings: Settings, models: Models, fence: Fence, *, seed: int) -> Bank:
    """A bank of one fence, in a folder named by everything that its logits depend on."""
    subject, compute = settings.subject, experiment.compute["diffusion"]
    capacity = max(fence.measures.num_candidates, settings.fence.most_candidates)
    key = {
        "format": BANK_FORMAT,
        "files": [file.sha256 for file in models.files],
        "partition": experiment.partition.key,
        "classifier": experiment.classifier_settings(subject.model),
        "normalisation": experiment.normalisation,
        "defense": models.defended.settings,
        "fence": fence.reconstructs,
        "capacity": capacity,
        "seed": seed,
        "device": compute.device.type,
        "precision": compute.precision,
        "compile": compute.compile,
        "torch": torch.__version__,
    }
    return Bank(
        build_fence(models.defended.classifier, models.diffusion.denoiser, fence, key=seed),
        experiment.folder.banks / storage.digest(key),
        fence.group_size,
        capacity,
        experiment.spec.num_classes,
        compute.device,
    )
