"""Attack a trained classifier of a dataset, alone and behind its fence, and report both."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch

from common.data import membership
from common.evaluation import departures
from common.evaluation.answers import FencedPopulation
from common.evaluation.bank import Bank
from common.evaluation.protocols import Protocol
from common.evaluation.run import Circumstances, Settings, evaluate, report
from common.experiment.experiment import Experiment
from common.experiment.fence import build_fence, diffusion_files, require_diffusion_model
from common.experiment.plan import Item
from common.experiment.subjects import Defended, load_classifier
from common.reports import departures as departures_report
from common.reports import write
from common.runtime import storage
from common.runtime.modes import Noising, TableStyle
from common.runtime.subject import Subject

READS = ("data", "classifier", "diffence", "evaluation")  # YAML files
BANK_FORMAT = 3  # raised when the same inputs come to give other logits, so that no older bank is taken for a new one


def settings_for(experiment: Experiment, subject: Subject, protocols: Sequence[Protocol]) -> Settings:
    return Settings(subject, experiment.fence_config, experiment.evaluation_config, protocols)


def plan(experiment: Experiment, subject: Subject) -> list[Item]:
    """The two result folders."""
    items = []
    for diffence in (False, True):
        path = experiment.folder.results(subject, diffence=diffence)
        there = path / "report.json"
        items.append(
            Item(
                experiment.folder.shown(path),
                "there, written anew" if there.is_file() else "not there",
                _seconds(there),
            )
        )
    return items


def _seconds(path: Path) -> float | None:
    try:
        seconds = storage.read_json(path)["seconds"]
    except (OSError, ValueError, KeyError, TypeError):  # whatever is there is about to be written anew
        return None
    return float(seconds) if isinstance(seconds, (int, float)) else None


def run(experiment: Experiment, settings: Settings) -> str | None:
    """Evaluate and write both result folders; the table. Of several processes the first does, the others get None."""
    start = time.monotonic()
    require_inputs(experiment, settings.subject)
    defended = load_classifier(experiment, settings.subject)
    found = evaluate(fenced_population(experiment, settings, defended), settings, seed=experiment.seed)
    if found is None:
        return None
    files = [*_model_files(experiment, settings.subject), experiment.folder.partition]
    about = Circumstances(
        dataset=experiment.folder.name,
        seed=experiment.seed,
        privacy=defended.privacy,
        membership=membership.membership(experiment.partition, trained_on=defended.partition),
        inputs={experiment.folder.shown(file): storage.file_sha256(file) for file in files},
        seconds=round(time.monotonic() - start, 1),
    )
    without, fenced = (report(found, settings, about, fenced=fenced) for fenced in (False, True))
    return write.write(experiment.folder, found, without, fenced)


def measure_departures(experiment: Experiment, settings: Settings, *, style: TableStyle) -> str | None:
    """The table of what each departure of the published code is worth; None in all processes but the first."""
    require_inputs(experiment, settings.subject)
    defended = load_classifier(experiment, settings.subject)
    fenced = {}
    for noising in get_args(Noising):
        fence = settings.fence.model_copy(update={"noising": noising})
        of_noising = Settings(settings.subject, fence, settings.evaluation, settings.protocols)
        fenced[noising] = fenced_population(experiment, of_noising, defended)
    measured = departures.measure(fenced, settings, dataset=experiment.folder.name, seed=experiment.seed)
    return None if measured is None else departures_report.table(measured, style=style)


def require_inputs(experiment: Experiment, subject: Subject) -> None:
    """Raise UserError with the command that makes what is missing, before any work."""
    folder = experiment.folder
    folder.require(folder.partition, "python data_partition.py")
    folder.require(folder.classifier(subject), subject.training_command)
    require_diffusion_model(experiment)
    membership.require_in_use(folder.permutation, experiment.partition)


def fenced_population(experiment: Experiment, settings: Settings, defended: Defended) -> FencedPopulation:
    """The dataset behind this classifier's fence; its bank has a folder named by everything its logits depend on."""
    subject, compute = settings.subject, experiment.compute["diffusion"]
    key = {
        "format": BANK_FORMAT,
        "files": [storage.file_sha256(file) for file in _model_files(experiment, subject)],
        "partition": experiment.partition.key,
        "classifier": experiment.classifier_config.model_dump()[subject.model],
        "defense": defended.settings,
        "fence": settings.fence.model_dump(exclude={"scenario"}),
        "seed": experiment.seed,
        "device": compute.device.type,
        "precision": compute.precision,
        "compile": compute.compile,
        "torch": torch.__version__,
    }
    bank = Bank(
        build_fence(experiment, defended.classifier, settings.fence),
        experiment.folder.banks / storage.digest(key),
        settings.fence.group_size,
        experiment.spec.num_classes,
        compute.device,
    )
    return FencedPopulation(experiment.population, bank)


def _model_files(experiment: Experiment, subject: Subject) -> list[Path]:
    return [experiment.folder.classifier(subject), *diffusion_files(experiment)]
