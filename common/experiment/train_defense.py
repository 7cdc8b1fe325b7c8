"""Train a dataset's classifier with a defence."""

from dataclasses import replace

from common.defenses import DEFENSES
from common.defenses.base import Task
from common.experiment.experiment import Experiment
from common.experiment.plan import Item, of_job
from common.experiment.subjects import undefended_weights
from common.models.classifiers import Classifier, build_classifier
from common.runtime import distributed, ownership, storage
from common.runtime.errors import UserError
from common.runtime.images import Labelled
from common.runtime.subject import Subject
from common.training.classifier import TrainingBasics
from common.training.jobs import Job, is_done


def settings_name(subject: Subject, *, published: bool) -> str:
    """The YAML file of a subject's training, below configs/."""
    return f"published/{subject.defense}" if published else subject.settings


def reads(subject: Subject, *, published: bool) -> tuple[str, ...]:
    """YAML files."""
    return ("data", "classifier", settings_name(subject, published=published))


def plan(experiment: Experiment, subject: Subject, *, published: bool) -> list[Item]:
    """The checkpoint; the settings are checked."""
    settings = _settings(experiment, subject, published=published)
    _require_possible(experiment, subject, settings, settings_name(subject, published=published))
    return [of_job(_job(experiment, subject, settings), experiment.folder)]


def train(experiment: Experiment, subject: Subject, *, published: bool, tensorboard: bool = False) -> None:
    """Train a subject, where that has not been done.

    published:    with the published code's settings
    tensorboard:  leave TensorBoard's events
    """
    settings = _settings(experiment, subject, published=published)
    _require_possible(experiment, subject, settings, settings_name(subject, published=published))
    with ownership.owned(experiment.folder.classifier(subject)):
        job = _job(experiment, subject, settings)
        _train(experiment, subject, settings, replace(job, tensorboard=tensorboard))


def _train(experiment: Experiment, subject: Subject, settings: TrainingBasics, job: Job) -> None:
    defense, folder, part = DEFENSES[subject.defense], experiment.folder, experiment.partition
    if is_done(job):
        return

    def new_classifier(seed: int) -> Classifier:
        return build_classifier(
            subject.model,
            experiment.classifier_config,
            experiment.spec,
            seed=seed,
            group_norm=defense.group_norm,
            compute=experiment.compute["classifier"],
        )

    defense.train(
        Task(
            job=job,
            config=settings,
            new_classifier=new_classifier,
            members=experiment.training_part(part.members),
            reference=experiment.reference_part(len(part.reference)),
            whole_reference=experiment.reference_part(len(part.validation) + len(part.reference)),
            tuning_members=experiment.training_part(experiment.tuning_members),
            selection=_selection_part(experiment, settings.checkpoint_selection),
            undefended=lambda: undefended_weights(experiment, subject, sha256=job.made_from.undefended or ""),
            seed=experiment.seed,
            device=experiment.device,
        )
    )
    if distributed.is_first():
        print(f"{folder.shown(job.path)} is ready; its log is {folder.shown(job.log_path)}")


def _settings(experiment: Experiment, subject: Subject, *, published: bool) -> TrainingBasics:
    name = settings_name(subject, published=published)
    return experiment.config(name, DEFENSES[subject.defense].config)


def _require_possible(experiment: Experiment, subject: Subject, settings: TrainingBasics, name: str) -> None:
    """Raise UserError, before any work, where a defence cannot be trained so."""
    defense, compute = DEFENSES[subject.defense], experiment.compute["classifier"]
    if defense.fp32_only and (compute.compile or compute.precision != "fp32"):
        raise UserError(f"--defense {subject.defense} trains without --compile and with --precision fp32 only")
    if distributed.world_size() > 1 and not defense.shares_work:
        raise UserError(f"--defense {subject.defense} is trained by one process: leave --nproc away")
    if defense.needs_reference and len(experiment.partition.reference) == 0:
        raise UserError(
            f"--defense {subject.defense} learns from a reference set, and configs/data.yaml has none besides the "
            "validation part: raise reference there, then run `python data_partition.py`"
        )
    if settings.checkpoint_selection == "validation" and len(experiment.partition.validation) == 0:
        raise UserError(
            f"{experiment.folder.shown(experiment.folder.config(name))}: checkpoint_selection: validation needs a "
            "validation part, but configs/data.yaml has validation: 0: raise it, or choose checkpoint_selection: last"
        )


def job(experiment: Experiment, subject: Subject, *, published: bool) -> Job:
    """What there is to train."""
    return _job(experiment, subject, _settings(experiment, subject, published=published))


def _job(experiment: Experiment, subject: Subject, settings: TrainingBasics) -> Job:
    """What the training leaves behind, and everything it depends on."""
    made_from = experiment.provenance(
        "classifier",
        defense=subject.defense,
        classifier={subject.model: experiment.classifier_settings(subject.model)},
        settings=settings.model_dump(),
        original=subject.original,
        **_built_on(experiment, subject),
    )
    return Job(experiment.folder.classifier(subject), made_from)


def _built_on(experiment: Experiment, subject: Subject) -> dict[str, str]:
    """What a defence that protects the undefended classifier depends on besides."""
    if not DEFENSES[subject.defense].needs_undefended:
        return {}
    path = experiment.folder.classifier(subject.undefended)
    experiment.folder.require(path, subject.undefended.training_command)
    return {"undefended": storage.file_sha256(path), "tuning_members": experiment.tuning_members_key}


def _selection_part(experiment: Experiment, selection: str) -> Labelled | None:
    """The samples whose accuracy picks the epoch, or None where the last one is kept."""
    if selection == "validation":
        return experiment.training_part(experiment.partition.validation)
    return experiment.test_part(experiment.partition.test_order) if selection == "test" else None
