"""Train a dataset's diffusion model, and show what it does and what it remembers."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from common.diffusion import training
from common.diffusion.denoiser import Denoiser
from common.diffusion.memorization import reconstruction_errors
from common.experiment.experiment import Experiment
from common.experiment.fence import load_diffusion_model, require_step
from common.experiment.plan import Item, of_job
from common.formats import flags
from common.formats.diffusion_model import ready
from common.reports import pictures
from common.runtime import distributed, ownership, storage
from common.runtime.errors import UserError
from common.runtime.images import size_of, to_float
from common.statistics import roc
from common.statistics.bootstrap import Bootstrap, interval95
from common.training.jobs import Job, is_done

READS = ("data", "ddpm", "diffence")  # YAML files
PICTURES = ("purified.png", "samples.png")  # beside the checkpoint; no samples of a model that learnt only some steps
ASKED, DRAWS = 500, 8  # members, and as many others, whose loss is looked at, with so many noises each


def job(experiment: Experiment, path: Path | None = None) -> Job:
    """``path``: another place than the dataset folder's."""
    made_from = experiment.provenance("diffusion", ddpm=experiment.ddpm_config.model_dump())
    return Job(path or experiment.folder.ddpm, made_from)


def plan(experiment: Experiment) -> list[Item]:
    """The checkpoint; the settings are checked."""
    require_possible(experiment)
    return [of_job(job(experiment), experiment.folder)]


def train(experiment: Experiment, *, tensorboard: bool = False) -> None:
    """Train, where that has not been done, and write the flags file and the pictures.

    tensorboard:  leave TensorBoard's events
    """
    require_possible(experiment)
    with ownership.owned(experiment.folder.ddpm):  # and not its folder, where others make theirs meanwhile
        if distributed.is_first():
            for name in PICTURES:
                storage.sweep(experiment.folder.ddpm.with_name(name))
        make(experiment, replace(job(experiment), tensorboard=tensorboard), show=_so_far(experiment))
        if distributed.is_first():
            _tell(experiment)


def require_possible(experiment: Experiment) -> None:
    """Raise UserError where network, processes and images do not fit, or the fence asks for a step not learnt."""
    config = experiment.ddpm_config
    training.require_possible(config, image_size=experiment.spec.image_size)
    on = config.training.trained_on
    if on != "members" and experiment.sizes.reference == 0:
        raise UserError(f"--on {on} (trained_on): configs/data.yaml has no reference set: raise reference there")
    require_step(experiment.fence_config, num_steps=config.schedule.T, only=config.training.only_steps)


def make(
    experiment: Experiment,
    to_do: Job,
    images: torch.Tensor | None = None,
    *,
    show: Callable[[nn.Module], Sequence[Path]] | None = None,
) -> None:
    """The checkpoint, where it is not there, and its flags file beside it.

    images:  uint8 [n, C, H, W] to learn from; by default those that configs/ddpm.yaml says
    show:    draws pictures of what the network can do so far
    """
    flags_path = to_do.path.with_suffix(".txt")
    if distributed.is_first():
        storage.sweep(flags_path)
    settings = experiment.ddpm_config
    if not is_done(to_do):
        learnt = experiment.training_part(_trained_on(experiment)).images if images is None else images
        compute, learnt = experiment.compute["diffusion"], learnt.to(experiment.device)
        training.train(to_do, learnt, settings, seed=experiment.seed, compute=compute, show=show)
    if distributed.is_first():
        size = experiment.spec.image_size if images is None else size_of(*images.shape[2:])
        storage.write_text(flags_path, flags.write(settings, image_size=size))


def _tell(experiment: Experiment) -> None:
    denoiser, step = load_diffusion_model(experiment).denoiser, experiment.fence_config.step
    for path in _show(experiment, denoiser):
        print(f"picture: {experiment.folder.shown(path)}")
    print(_what_it_remembers(experiment, denoiser, step=step))


def _trained_on(experiment: Experiment) -> np.ndarray:
    """Indices into the training set."""
    part, on = experiment.partition, experiment.ddpm_config.training.trained_on
    parts = {"members": part.members, "reference": np.concatenate([part.validation, part.reference])}
    return np.concatenate([parts["members"], parts["reference"]]) if on == "both" else parts[on]


def _what_it_remembers(experiment: Experiment, denoiser: Denoiser, *, step: int) -> str:
    """How well its loss tells the classifier's members from others, in the final test's role, as one line."""
    role = experiment.partition.roles(ASKED)["final_test"]
    parts = [experiment.training_part(role.members).images, experiment.test_part(role.non_members).images]
    images = to_float(torch.cat(parts))
    member = np.arange(len(images)) < len(role.members)
    scores = -reconstruction_errors(denoiser, images, step=step, draws=DRAWS, seed=experiment.seed).numpy()
    low, high = interval95(Bootstrap.draw(member, resamples=1000, seed=experiment.seed).aucs(scores, member))
    return (
        f"Its own loss at step {step} tells members from others with AUC {roc.auc(scores, member):.3f} "
        f"[{low:.3f}, {high:.3f}]: who has the diffusion model can ask for it, who asks the fence cannot."
    )


def _so_far(experiment: Experiment) -> Callable[[nn.Module], list[Path]]:
    """Draws the pictures of a network that has not done learning, under the names that the last ones will have."""
    compute, config = replace(experiment.compute["diffusion"], compile=False), experiment.ddpm_config

    def show(network: nn.Module) -> list[Path]:
        return _show(experiment, ready(copy.deepcopy(network), training.alpha_bar_of(config), compute=compute))

    return show


def _show(experiment: Experiment, denoiser: Denoiser) -> list[Path]:
    """Pictures of members before noising, noised and denoised, and of samples where the model can make any."""
    members, step = experiment.training_part(experiment.partition.members[:12]).images, experiment.fence_config.step
    recipe, folder = experiment.ddpm_config.training, experiment.folder
    rows = training.show_purified(denoiser, to_float(members), step=step, seed=experiment.seed)
    figures = [pictures.image_grid(rows, title=f"{folder.name}: members at T = {step}")]
    if recipe.only_steps is None:
        shape, jumps = members.shape[1:], recipe.sample_steps
        samples = training.show_samples(denoiser, shape, num_jumps=jumps, seed=experiment.seed, device=members.device)
        rows_of = {"": samples[:12], " ": samples[12:]}
        figures.append(pictures.image_grid(rows_of, title=f"{folder.name}: DDPM samples"))
    paths = [folder.ddpm.with_name(name) for name in PICTURES[: len(figures)]]
    for path, figure in zip(paths, figures, strict=True):
        pictures.save(figure, path)
    return paths
