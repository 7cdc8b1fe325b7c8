"""From a trained classifier to a privacy verdict: candidate bank -> answers -> attacks -> report."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common import (
    config,
    ddpm_training,
    diffence,
    diffusers_format,
    distributed,
    models,
    partition,
    protocols,
    published,
    storage,
)
from common.bank import BankStore
from common.datasets import to_float
from common.defenses import DEFENSES
from common.diffence import Diffence
from common.diffusion import Denoiser, last_step
from common.errors import UserError
from common.experiment import Experiment
from common.paths import DatasetFolder
from common.protocols import HELD_OUT, PUBLISHED, Drawn, Pair, Protocol

BANK_FORMAT = 3  # raised when the same inputs come to give other logits, so that no older bank is taken for a new one


@dataclass(frozen=True)
class Settings:
    """What an evaluation computes; command-line options have been merged in."""

    model: str
    defense: str
    fence: config.DiffenceConfig
    evaluation: config.EvaluationConfig
    protocols: tuple[Protocol, ...] = (HELD_OUT, PUBLISHED)


@dataclass(frozen=True)
class Evaluation:
    dataset: str
    settings: Settings
    pairs: dict[str, Pair]  # by protocol
    counts: dict[str, dict[str, int]]
    privacy: dict[str, float] | None  # what DP-SGD spent on the classifier; the fenced one has no such guarantee
    membership: partition.Membership
    inputs: dict[str, str]  # file -> sha256
    seconds: float

    @property
    def main(self) -> Pair:
        """What is shown first: the held-out protocol, or the only one."""
        return self.pairs.get(HELD_OUT.name) or next(iter(self.pairs.values()))


def evaluate(experiment: Experiment, settings: Settings) -> Evaluation | None:
    """Evaluate one classifier, alone and behind Diffence, under each of the protocols.

    Of several processes the first judges; the others get None.
    """
    start = time.monotonic()
    require_inputs(experiment, model=settings.model, defense=settings.defense)
    defended = load_classifier(experiment, model=settings.model, defense=settings.defense)
    store = bank_store(experiment, settings, defended)
    drawn = [draw(store, protocol, settings) for protocol in settings.protocols]
    if not distributed.is_first():
        return None
    pairs = {each.protocol.name: protocols.judge(each, settings.evaluation, seed=experiment.seed) for each in drawn}
    counts = {role: count for each in drawn for role, count in each.counts.items()}
    files = _input_files(experiment, settings)
    inputs = {experiment.folder.shown(file): storage.file_sha256(file) for file in files}
    seconds = round(time.monotonic() - start, 1)
    membership = partition.membership(experiment.partition, trained_on=defended.partition)
    return Evaluation(experiment.folder.name, settings, pairs, counts, defended.privacy, membership, inputs, seconds)


def draw(store: BankStore, protocol: Protocol, settings: Settings) -> Drawn:
    """The candidates that a protocol needs; every process must ask for the same ones in the same order."""
    return protocols.draw(
        store,
        protocol,
        num_sample=settings.evaluation.num_sample,
        scenario=settings.fence.scenario,
        desc=f"purify {settings.defense}",
    )


def require_inputs(experiment: Experiment, *, model: str, defense: str) -> None:
    """Raise UserError with the command that makes what is missing, before any work."""
    folder = experiment.folder
    folder.require(folder.partition, "python data_partition.py")
    folder.require(folder.classifier(model=model, defense=defense), training_command(defense, model))
    require_diffusion_model(experiment)
    partition.require_in_use(folder.permutation, experiment.partition)


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


def diffusion_files(experiment: Experiment) -> list[Path]:
    """What the diffusion model is read from: checkpoint and flags file, or all that is read of a diffusers folder."""
    path = experiment.diffusion or experiment.folder.ddpm
    return diffusers_format.files(path) if path.is_dir() else [path, path.with_suffix(".txt")]


def training_command(defense: str, model: str) -> str:
    """What a user types to train a classifier."""
    return f"python train_defense.py --defense {defense}" + ("" if model == "resnet" else f" --model {model}")


def _input_files(experiment: Experiment, settings: Settings) -> list[Path]:
    folder = experiment.folder
    classifier = folder.classifier(model=settings.model, defense=settings.defense)
    return [classifier, *diffusion_files(experiment), folder.partition]


@dataclass(frozen=True)
class Defended:
    """A trained classifier as its users, and the attacker, meet it, on the experiment's device."""

    classifier: nn.Module
    settings: dict[str, Any]  # of the defence
    privacy: dict[str, float] | None  # what DP-SGD spent
    partition: str | None  # the key of the one it was trained on; None where its file does not know it


def load_classifier(experiment: Experiment, *, model: str, defense: str) -> Defended:
    """Read a trained classifier, in our own form or in the published one, with BatchNorm or GroupNorm.

    Its wrapper works with the settings it was trained with, where the file knows them; else with those of the YAML, and
    for a file in the published form with the published ones.
    """
    path = experiment.folder.classifier(model=model, defense=defense)
    kind = DEFENSES[defense]
    state = storage.load_checkpoint(path, expect={"state_dict": dict})
    weights = published.own_form(state["state_dict"], source=str(path))
    classifier = models.build_classifier(
        model,
        experiment.classifier_config,
        experiment.spec,
        seed=experiment.seed,
        group_norm=published.has_group_norm(weights),
    )
    storage.load_weights(classifier.network, weights, path=path)
    made_from = state.get("made_from", {})
    if not isinstance(made_from, dict):
        raise UserError(f"{path}: made_from is {type(made_from).__name__}, expected a dict")
    if kind.needs_undefended and made_from and made_from.get("tuning_members") != experiment.tuning_members_key:
        raise UserError(
            f"{experiment.folder.shown(path)} was trained on other tuning members than there are now: "
            f"train it again with `{training_command(defense, model)}` in {experiment.folder.name}"
        )
    if made_from:
        settings = config.parse(made_from.get("settings"), kind.config, source=str(path))
    else:
        name = f"published/{defense}" if published.is_published(state["state_dict"]) else defense
        settings = config.load(experiment.folder.config(name), kind.config)
    wrapped = kind.wrap(classifier, state, settings, seed=experiment.seed, path=path)
    wrapped = wrapped.to(experiment.device).eval().requires_grad_(False)
    return Defended(wrapped, settings.model_dump(), state.get("privacy"), made_from.get("partition"))


def load_denoiser(experiment: Experiment) -> Denoiser:
    """The folder's diffusion model, or the one that the experiment was given instead."""
    path, spec = experiment.diffusion or experiment.folder.ddpm, experiment.spec
    given: dict[str, Any] = {
        "channels": spec.channels,
        "image_size": spec.image_size,
        "device": experiment.device,
        "precision": experiment.precision,
        "compile": experiment.compile,
    }
    if path.is_dir():
        return diffusers_format.load_denoiser(path, **given)
    return ddpm_training.load_denoiser(path, path.with_suffix(".txt"), **given)


def build_fence(
    experiment: Experiment, classifier: Callable[[torch.Tensor], torch.Tensor], fence: config.DiffenceConfig
) -> Diffence:
    """The classifier behind this dataset's diffusion model, with no interval yet."""
    denoiser = load_denoiser(experiment)
    last = last_step(denoiser.num_steps, fence.noising)
    if fence.step > last:
        raise UserError(f"step {fence.step} (-T): the last one of the diffusion model is {last}")
    return Diffence(
        classifier,
        denoiser,
        num_candidates=fence.num_candidates,
        step=fence.step,
        noising=fence.noising,
        seed=experiment.seed,
    )


def bank_store(experiment: Experiment, settings: Settings, defended: Defended) -> BankStore:
    """The bank of this classifier behind this fence, in a folder named by everything its logits depend on."""
    *files, _ = _input_files(experiment, settings)
    key = {
        "format": BANK_FORMAT,
        "files": [storage.file_sha256(file) for file in files],
        "partition": experiment.partition.key,
        "classifier": experiment.classifier_config.model_dump()[settings.model],
        "defense": defended.settings,
        "fence": settings.fence.model_dump(exclude={"scenario"}),
        "seed": experiment.seed,
        "device": experiment.device.type,
        "precision": experiment.precision,
        "compile": experiment.compile,
        "torch": torch.__version__,
    }
    fenced = build_fence(experiment, defended.classifier, settings.fence)
    return BankStore(experiment, fenced, experiment.folder.banks / storage.digest(key), settings.fence.group_size)


def fence_for(
    root: Path,
    classifier: Callable[[torch.Tensor], torch.Tensor],
    *,
    scenario: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "fp32",
    diffusion: Path | str | None = None,
) -> Diffence:
    """A dataset folder's Diffence round any classifier of its images, its interval tuned on the tuning role.

    classifier: images [B, C, H, W] in [0, 1] on ``device`` -> logits [B, K], trained on the folder's members
    scenario:   as in ``diffence.tune_interval``; the default is that of configs/diffence.yaml
    precision:  of the diffusion model, fp32 or bf16
    diffusion:  instead of the folder's own diffusion model a checkpoint with its flags file beside it, or a folder in
                diffusers' format

    Raises UserError where partition or diffusion model are missing.
    """
    given = None if diffusion is None else Path(diffusion)
    experiment = Experiment.at(DatasetFolder(root), seed=seed, device=device, precision=precision, diffusion=given)
    folder = experiment.folder
    settings = config.load(folder.config("diffence"), config.DiffenceConfig)
    protocol = config.load(folder.config("evaluation"), config.EvaluationConfig)
    require_diffusion_model(experiment)
    fenced = build_fence(experiment, classifier, settings)
    role = experiment.partition.roles(protocol.num_sample)["tuning"]
    members, non_members = experiment.training_part(role.members), experiment.test_part(role.non_members)
    fenced.interval = diffence.tune_interval(
        fenced.candidates(to_float(members.images)),
        fenced.candidates(to_float(non_members.images)),
        scenario=scenario or settings.scenario,
    )
    return fenced
