"""What the page of an evaluation shows beside its numbers: samples, what the fence makes of them, trainings."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from common.diffusion import training
from common.diffusion.denoiser import Denoiser
from common.evaluation.run import Evaluation, Settings
from common.experiment.experiment import Experiment
from common.reports.drawings import SHOWN
from common.reports.results import Beside
from common.runtime.errors import UserError
from common.runtime.images import Labelled, to_float
from common.runtime.paths import PAGE
from common.training import logs


def beside(experiment: Experiment, settings: Settings, evaluation: Evaluation, denoiser: Denoiser) -> Beside:
    """Of the samples that the main protocol judges by."""
    population, num_sample = experiment.population, settings.evaluation.num_sample
    roles = experiment.partition.roles(num_sample) | experiment.partition.published_roles(num_sample)
    role = roles[evaluation.main.protocol.test]
    samples = Labelled(population.images(role), torch.from_numpy(population.labels(role)))
    shown = to_float(samples.images[:SHOWN].to(experiment.device))
    read, missing = _logs(
        experiment,
        {
            f"{settings.subject}": experiment.folder.classifier(settings.subject),
            "the diffusion model": experiment.diffusion or experiment.folder.ddpm,
        },
    )
    return Beside(
        samples=samples,
        indices=np.concatenate([role.members, role.non_members]),
        purified=training.show_purified(
            denoiser, shown, step=settings.fence.step, seed=experiment.seed, noising=settings.fence.noising
        ),
        logs=read,
        links=_links(experiment, settings),
        missing=missing,
    )


def _logs(
    experiment: Experiment, checkpoints: Mapping[str, Path]
) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """The logs that there are, and a line for each that is damaged."""
    found, missing = {}, []
    for name, path in checkpoints.items():
        try:
            log = logs.read(path)
        except UserError as error:
            missing.append(f"How {name} was trained is not shown: {error}.")
        else:
            if log:
                found[name] = log
    return found, missing


def _links(experiment: Experiment, settings: Settings) -> dict[str, str]:
    """To the page of an audit by shadow models, where there is one."""
    page = experiment.folder.shadow_results(settings.subject) / PAGE
    return {"by shadow models": f"../{page.parent.name}/{page.name}"} if page.is_file() else {}
