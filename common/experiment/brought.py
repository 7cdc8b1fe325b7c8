"""A classifier that was trained elsewhere, put where one of ours would be, on its user's word for its members."""

from pathlib import Path

from common.data import membership
from common.experiment.experiment import Experiment
from common.experiment.plan import Item, of_job
from common.experiment.subjects import with_weights
from common.formats import published
from common.runtime import checkpoints, distributed, ownership
from common.runtime.errors import UserError
from common.runtime.subject import Subject
from common.training.jobs import Job, state

READS = ("data", "classifier")  # YAML files


def plan(experiment: Experiment, subject: Subject, weights: Path) -> list[Item]:
    return [of_job(_job(experiment, subject, checkpoints.read(weights, expect={}).sha256), experiment.folder)]


def register(experiment: Experiment, subject: Subject, weights: Path) -> None:
    """Write a file's weights as the checkpoint of a subject, whose members the partition is said to know.

    weights:  a state dict, alone or under "state_dict", read without running anything in it

    Raises UserError where they do not fit the subject's network, or another checkpoint is in its place.
    """
    read = checkpoints.read(weights, expect={})
    job, path = _job(experiment, subject, read.sha256), experiment.folder.classifier(subject)
    found = read.content.get("state_dict", read.content)
    if not isinstance(found, dict):
        raise UserError(f"{weights}: state_dict: expected a mapping of weights, found {type(found).__name__}")
    content = {"state_dict": published.without_prefix(found, source=str(weights)), "made_from": job.made_from.record()}
    with_weights(experiment, content, weights, subject)
    with ownership.owned(path):
        if not distributed.is_first():
            return
        shown = experiment.folder.shown(path)
        if not state(job).done:
            if path.exists():
                raise UserError(f"{shown} is there already and is another one: move it away to put {weights} there")
            checkpoints.save(path, content)
        print(f"{shown} is {weights}\n{membership.VOUCHED}")


def _job(experiment: Experiment, subject: Subject, sha256: str) -> Job:
    """Raises UserError where the subject is none that can be brought."""
    if subject.defense != "undefended":
        raise UserError(f"--from: a classifier from elsewhere is --defense undefended here, not {subject.defense}")
    made_from = experiment.provenance(
        "classifier",
        defense=subject.defense,
        classifier={subject.model: experiment.classifier_settings(subject.model)},
        brought=sha256,
    )
    return Job(experiment.folder.classifier(subject), made_from)
