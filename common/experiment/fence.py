"""A dataset's fence: its diffusion model in front of a classifier."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from common.diffence import Diffence
from common.diffence.measures import DiffenceConfig, Fence, tune
from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import fence_steps
from common.evaluation.protocols import HELD_OUT
from common.experiment.experiment import Experiment
from common.formats import ddpm_checkpoint, diffusers, guided_diffusion
from common.formats.diffusion_model import DiffusionModel
from common.runtime import keys
from common.runtime.errors import UserError
from common.runtime.images import to_float
from common.runtime.modes import FenceName, Precision, Scenario, Work
from common.runtime.paths import DatasetFolder


def diffusion_files(experiment: Experiment) -> list[Path]:
    """What the diffusion model is read from: checkpoint and flags file, or all that is read of a diffusers folder."""
    path = experiment.diffusion or experiment.folder.ddpm
    return diffusers.files(path) if path.is_dir() else [path, _flags_file(path)]


def _flags_file(checkpoint: Path) -> Path:
    """Beside a checkpoint: NAME.txt, or where there is none NAME.yaml, which says that it is one of OpenAI's."""
    text, openai = checkpoint.with_suffix(".txt"), checkpoint.with_suffix(".yaml")
    return openai if openai.is_file() and not text.is_file() else text


def require_diffusion_model(experiment: Experiment) -> None:
    """Raise UserError naming what is missing of the diffusion model, and where it comes from."""
    if experiment.diffusion is None:
        experiment.folder.require(experiment.folder.ddpm, "python train_ddpm.py")
    for path in diffusion_files(experiment):
        if not path.is_file():
            raise UserError(
                f"{experiment.folder.shown(path)} not found: a diffusion model is a checkpoint (half.pt) with its "
                "flags file (half.txt) beside it, one of OpenAI's with its flags as YAML (half.yaml), or a folder in "
                "diffusers' format"
            )


def load_diffusion_model(experiment: Experiment) -> DiffusionModel:
    """The folder's diffusion model, or the one that the experiment was given instead.

    Raises UserError where the folder's own says that it was trained on another dataset, or is for other images.
    """
    path, spec = experiment.diffusion or experiment.folder.ddpm, experiment.spec
    given: dict[str, Any] = {
        "channels": spec.channels,
        "image_size": spec.image_size,
        "compute": experiment.compute["diffusion"],
    }
    if path.is_dir():
        return diffusers.load_denoiser(path, **given)
    flags_file = _flags_file(path)
    reader = guided_diffusion if flags_file.suffix == ".yaml" else ddpm_checkpoint
    model = reader.load_denoiser(path, flags_file, **given)
    if experiment.diffusion is None:
        _require_own(model, path, experiment)
    return model


def _require_own(model: DiffusionModel, path: Path, experiment: Experiment) -> None:
    other = None
    if model.made_from and model.made_from.dataset != experiment.folder.name:
        other = f"was trained on {model.made_from.dataset}"
    elif model.denoiser.own_shape != model.denoiser.image_shape:
        other = (
            f"is for images {model.denoiser.own_shape} by {_flags_file(path).name} (--img_size) and its "
            f"weights, not {model.denoiser.image_shape}"
        )
    if other:
        raise UserError(
            f"{path}: {other}, and stands where the diffusion model of {experiment.folder.name} is to be: give it as "
            "--diffusion if that is meant"
        )


def build_fence(
    classifier: Callable[[torch.Tensor], torch.Tensor], denoiser: Denoiser, fence: Fence, *, key: int | bytes
) -> Diffence:
    """The classifier behind a diffusion model, with no rule yet."""
    require_step(fence, num_steps=denoiser.num_steps, only=denoiser.only_steps)
    return Diffence(
        classifier,
        denoiser,
        num_candidates=fence.measures.num_candidates,
        step=fence.step,
        noising=fence.noising,
        noise=fence.measures.noise,
        work=fence.measures.work,
        key=key,
    )


def require_step(fence: DiffenceConfig | Fence, *, num_steps: int, only: Sequence[int] | None) -> None:
    """Raise UserError where the diffusion model has not learnt the step to which the fence noises.

    only:  the first and the last step that it has learnt; None where it has learnt all
    """
    first, last = fence_steps(num_steps, fence.noising, only=only)
    if not first <= fence.step <= last:
        which = f"the last one of the diffusion model is {last}"
        if only is not None:
            which = (
                f"the diffusion model has learnt {first} … {last} only: train it with only_steps: null, or for this one"
            )
        raise UserError(f"step {fence.step} (-T, configs/diffence.yaml): {which}")


def fence_for(
    root: Path,
    classifier: Callable[[torch.Tensor], torch.Tensor],
    *,
    fence: FenceName | None = None,
    work: Work | None = None,
    scenario: int | Scenario | None = None,
    seed: int | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
    diffusion: Path | str | None = None,
) -> Diffence:
    """A dataset folder's Diffence round any classifier of its images, its rule tuned on the tuning role.

    classifier: images [B, C, H, W] in [0, 1] on ``device`` -> logits [B, K], trained on the folder's members
    fence:      steady, as configs/diffence.yaml says; paper, the paper's procedure; published, that of its code. The
                default is that of the file
    work:       constant, so that the time of an answer tells nothing, at N passes of the diffusion model each; or lazy,
                about a quarter of them, where nobody who might attack sees how long an answer takes. Lazy work gives
                away how many reconstructions were drawn, which attack "work" measures. The default is the fence's
    scenario:   what the defender knows, 1, 2, 3 or a name (see ``tune_interval``); the default is that of
                configs/diffence.yaml
    seed:       that of an evaluation, to have its answers again. By default the noise is secret: it comes from
                diff_defense/diff_models/fence.key, which is made on the first call. Whoever has it can undo the noise
    precision:  of the diffusion model, fp32 or bf16
    diffusion:  instead of the folder's own diffusion model a checkpoint with its flags file beside it, one of
                OpenAI's with its flags as YAML, or a folder in diffusers' format; images are resized to its own size,
                and back

    With ``answer: average`` in configs/diffence.yaml the label of an answer may be another than the classifier's own.

    Raises UserError where partition or diffusion model are missing, or there is no such fence or scenario.
    """
    folder = DatasetFolder(root)
    given = {"fence": fence, "scenario": scenario}
    experiment = Experiment.at(
        folder,
        seed=0 if seed is None else seed,
        device=device,
        precision=precision,
        diffusion=None if diffusion is None else Path(diffusion),
        overrides={"diffence": {name: value for name, value in given.items() if value is not None}},
    )
    settings = experiment.fence_config.of(experiment.fence_config.fence)
    settings = settings if work is None else settings.with_measures(work=work)
    require_diffusion_model(experiment)
    denoiser = load_diffusion_model(experiment).denoiser
    key = keys.secret_key(folder.fence_key) if seed is None else seed
    fenced = build_fence(classifier, denoiser, settings, key=key)
    role = experiment.partition.roles(experiment.evaluation_config.num_sample)[HELD_OUT.tuning]
    members, non_members = experiment.training_part(role.members), experiment.test_part(role.non_members)
    fenced.rule = tune(
        fenced.candidates(to_float(members.images)), fenced.candidates(to_float(non_members.images)), settings
    )
    return fenced
