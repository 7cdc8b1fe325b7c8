"""A dataset's fence: its diffusion model in front of a classifier."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from common.diffence import Diffence
from common.diffence.fence import DiffenceConfig
from common.diffence.intervals import tune_interval
from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import last_step
from common.evaluation.protocols import HELD_OUT
from common.experiment.experiment import Experiment
from common.formats import ddpm_checkpoint, diffusers
from common.formats.diffusion_model import DiffusionModel
from common.runtime.errors import UserError
from common.runtime.images import to_float
from common.runtime.modes import Precision, Scenario
from common.runtime.paths import DatasetFolder


def diffusion_files(experiment: Experiment) -> list[Path]:
    """What the diffusion model is read from: checkpoint and flags file, or all that is read of a diffusers folder."""
    path = experiment.diffusion or experiment.folder.ddpm
    return diffusers.files(path) if path.is_dir() else [path, path.with_suffix(".txt")]


def require_diffusion_model(experiment: Experiment) -> None:
    """Raise UserError naming what is missing of the diffusion model, and where it comes from."""
    if experiment.diffusion is None:
        experiment.folder.require(experiment.folder.ddpm, "python train_ddpm.py")
    for path in diffusion_files(experiment):
        if not path.is_file():
            raise UserError(
                f"{experiment.folder.shown(path)} not found: a diffusion model is a checkpoint (half.pt) with its "
                "flags file (half.txt) beside it, or a folder in diffusers' format"
            )


def load_diffusion_model(experiment: Experiment) -> DiffusionModel:
    """The folder's diffusion model, or the one that the experiment was given instead.

    Raises UserError where the folder's own says that it was trained on another dataset.
    """
    path, spec = experiment.diffusion or experiment.folder.ddpm, experiment.spec
    given: dict[str, Any] = {
        "channels": spec.channels,
        "image_size": spec.image_size,
        "compute": experiment.compute["diffusion"],
    }
    if path.is_dir():
        return diffusers.load_denoiser(path, **given)
    model = ddpm_checkpoint.load_denoiser(path, path.with_suffix(".txt"), **given)
    if experiment.diffusion is None and model.made_from and model.made_from.dataset != experiment.folder.name:
        raise UserError(
            f"{path}: was trained on {model.made_from.dataset}, and stands where the diffusion model of "
            f"{experiment.folder.name} is to be: give it as --diffusion if that is meant"
        )
    return model


def build_fence(
    experiment: Experiment,
    classifier: Callable[[torch.Tensor], torch.Tensor],
    denoiser: Denoiser,
    fence: DiffenceConfig,
    *,
    seed: int | None = None,
) -> Diffence:
    """The classifier behind a diffusion model, with no interval yet; its seed is the experiment's unless given."""
    require_step(fence, num_steps=denoiser.num_steps)
    return Diffence(
        classifier,
        denoiser,
        num_candidates=fence.num_candidates,
        step=fence.step,
        noising=fence.noising,
        seed=experiment.seed if seed is None else seed,
    )


def require_step(fence: DiffenceConfig, *, num_steps: int) -> None:
    """Raise UserError where the diffusion model has no step to which the fence noises."""
    last = last_step(num_steps, fence.noising)
    if fence.step > last:
        raise UserError(f"step {fence.step} (-T, configs/diffence.yaml): the last one of the diffusion model is {last}")


def fence_for(
    root: Path,
    classifier: Callable[[torch.Tensor], torch.Tensor],
    *,
    scenario: int | Scenario | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "fp32",
    diffusion: Path | str | None = None,
) -> Diffence:
    """A dataset folder's Diffence round any classifier of its images, its interval tuned on the tuning role.

    classifier: images [B, C, H, W] in [0, 1] on ``device`` -> logits [B, K], trained on the folder's members
    scenario:   what the defender knows, 1, 2, 3 or a name (see ``tune_interval``); the default is that of
                configs/diffence.yaml
    precision:  of the diffusion model, fp32 or bf16
    diffusion:  instead of the folder's own diffusion model a checkpoint with its flags file beside it, or a folder in
                diffusers' format

    Raises UserError where partition or diffusion model are missing, or there is no such scenario.
    """
    experiment = Experiment.at(
        DatasetFolder(root),
        seed=seed,
        device=device,
        precision=precision,
        diffusion=None if diffusion is None else Path(diffusion),
        overrides={} if scenario is None else {"diffence": {"scenario": scenario}},
    )
    settings, num_sample = experiment.fence_config, experiment.evaluation_config.num_sample
    require_diffusion_model(experiment)
    fenced = build_fence(experiment, classifier, load_diffusion_model(experiment).denoiser, settings)
    role = experiment.partition.roles(num_sample)[HELD_OUT.tuning]
    members, non_members = experiment.training_part(role.members), experiment.test_part(role.non_members)
    fenced.interval = tune_interval(
        fenced.candidates(to_float(members.images)),
        fenced.candidates(to_float(non_members.images)),
        scenario=settings.scenario,
    )
    return fenced
