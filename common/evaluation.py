"""From a trained classifier to a privacy verdict: candidate bank -> answers -> attacks -> report.

Each sample is purified once. The bank of all candidate logits is kept on disk in parts, so an interrupted evaluation
goes on where it stopped; intervals, answers, attacks and statistics are computed from it without the diffusion model.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from common import config, ddpm_training, diffence, models, storage
from common.attacks import metrics, suite
from common.attacks.answers import Answers
from common.datasets import to_float
from common.defenses import DEFENSES
from common.diffence import Diffence, Interval
from common.diffusion import Denoiser
from common.errors import UserError
from common.experiment import Experiment
from common.paths import DatasetFolder
from common.training import Labelled

FPRS = ("0.001", "0.01")
FNRS = ("0.001",)


@dataclass(frozen=True)
class Settings:
    """What an evaluation computes; command-line options have been merged in."""

    model: str
    defense: str
    fence: config.DiffenceConfig
    protocol: config.EvaluationConfig


@dataclass(frozen=True)
class Bank:
    """All candidate logits of one role: float32 [n, N + 1, K], the raw ones last, and labels int64 [n]."""

    members: torch.Tensor
    non_members: torch.Tensor
    member_labels: torch.Tensor
    non_member_labels: torch.Tensor

    def answers(self, interval: Interval | None) -> Answers:
        """The fenced answers, or the raw ones where there is no interval."""
        logits = torch.cat([_answer(part, interval) for part in (self.members, self.non_members)])
        labels = torch.cat([self.member_labels, self.non_member_labels])
        member = np.arange(len(labels)) < len(self.members)
        return Answers(logits.double().numpy(), labels.numpy(), member)

    def raw_answer_rate(self, interval: Interval) -> float:
        """Share of samples that the raw candidate, the last resort, answers."""
        parts = [self.members, self.non_members]
        raw = torch.cat([diffence.select(part, interval) == part.shape[1] - 1 for part in parts])
        return float(raw.double().mean())


def _answer(candidates: torch.Tensor, interval: Interval | None) -> torch.Tensor:
    if interval is None:
        return candidates[:, -1]
    return diffence.take(candidates, diffence.select(candidates, interval))


@dataclass(frozen=True)
class Verdict:
    """Attack results with and without Diffence on one final-test set; ``None`` in ``interval`` is without."""

    interval: Interval | None
    test: Answers
    scores: dict[str, np.ndarray]  # by attack, float64 [n], at least 0 where the attack says member
    aucs: dict[str, np.ndarray]  # bootstrap AUCs [B], the same resamples for every attack and both verdicts
    label_agreement: float
    raw_answer_rate: float

    @property
    def accuracy(self) -> dict[str, float]:
        """On the final-test samples: members are training samples, non-members test samples."""
        correct, member = self.test.correct, self.test.member
        return {"train": float(correct[member].mean()), "test": float(correct[~member].mean())}

    @cached_property
    def best(self) -> dict[str, Any]:
        """The attack of greatest AUC: what a user has to fear, if the attacker happens to choose well.

        A maximum over tries on one test set is too great by chance. ``selection_bias`` estimates by how much: the mean
        over bootstrap maxima less the maximum; ``auc_ci`` is the middle of the bootstrap maxima, each over all attacks.
        """
        rows = self.measurements
        attack = max(rows, key=lambda name: rows[name]["auc"])
        return {
            "auc": rows[attack]["auc"],
            "auc_ci": list(metrics.interval95(self.greatest_aucs)),
            "balanced_accuracy": max(row["balanced_accuracy"] for row in rows.values()),
            "attack": attack,
            "selection_bias": float(self.greatest_aucs.mean()) - rows[attack]["auc"],
        }

    @cached_property
    def greatest_aucs(self) -> np.ndarray:
        """float64 [B]: the greatest AUC over the attacks in every resample."""
        return np.max(list(self.aucs.values()), axis=0)

    @cached_property
    def measurements(self) -> dict[str, dict[str, Any]]:
        """By attack: AUC with its interval, balanced accuracy at the fitted threshold, TPR at FPRs and TNR at FNRs."""
        return {attack: self._measure(attack) for attack in self.scores}

    def _measure(self, attack: str) -> dict[str, Any]:
        scores, member = self.scores[attack], self.test.member
        return {
            "auc": metrics.auc(scores, member),
            "auc_ci": list(metrics.interval95(self.aucs[attack])),
            "balanced_accuracy": metrics.balanced_accuracy(scores, member, 0.0),
            "tpr_at_fpr": {fpr: metrics.tpr_at_fpr(scores, member, float(fpr)) for fpr in FPRS},
            "tnr_at_fnr": {fnr: metrics.tnr_at_fnr(scores, member, float(fnr)) for fnr in FNRS},
        }


@dataclass(frozen=True)
class Evaluation:
    dataset: str
    settings: Settings
    without: Verdict
    fenced: Verdict
    bootstrap: metrics.Bootstrap
    counts: dict[str, dict[str, int]]
    privacy: dict[str, float] | None  # what DP-SGD spent on the classifier; the fenced one has no such guarantee
    inputs: dict[str, str]  # file -> sha256
    seconds: float


def evaluate(experiment: Experiment, settings: Settings) -> Evaluation:
    """Evaluate one classifier, alone and behind Diffence, on the held-out roles."""
    start = time.monotonic()
    require_inputs(experiment, settings)
    defended = load_classifier(experiment, model=settings.model, defense=settings.defense)
    banks = candidate_banks(experiment, settings, defended)
    tuning = banks["tuning"]
    interval = diffence.tune_interval(tuning.members, tuning.non_members, scenario=settings.fence.scenario)
    member = banks["final_test"].answers(None).member
    bootstrap = metrics.Bootstrap.draw(member, resamples=settings.protocol.bootstrap, seed=experiment.seed)
    without, fenced = (
        _judge(banks, choice, settings.protocol, bootstrap, seed=experiment.seed) for choice in (None, interval)
    )
    counts = {
        role: {"members": len(bank.members), "non_members": len(bank.non_members)} for role, bank in banks.items()
    }
    files = _input_files(experiment, settings)
    inputs = {experiment.folder.shown(file): storage.file_sha256(file) for file in files}
    seconds = round(time.monotonic() - start, 1)
    return Evaluation(
        experiment.folder.name, settings, without, fenced, bootstrap, counts, defended.privacy, inputs, seconds
    )


def require_inputs(experiment: Experiment, settings: Settings) -> None:
    """Raise UserError with the command that makes what is missing, before any work."""
    folder = experiment.folder
    folder.require(folder.partition, "python data_partition.py")
    classifier, *_ = _input_files(experiment, settings)
    folder.require(classifier, training_command(settings.defense, settings.model))
    folder.require(folder.ddpm, "python train_ddpm.py")


def training_command(defense: str, model: str) -> str:
    """What a user types to train a classifier."""
    return f"python train_defense.py --defense {defense}" + ("" if model == "resnet" else f" --model {model}")


def _input_files(experiment: Experiment, settings: Settings) -> list[Path]:
    folder = experiment.folder
    classifier = folder.classifier(model=settings.model, defense=settings.defense)
    return [classifier, folder.ddpm, folder.ddpm_flags, folder.partition]


@dataclass(frozen=True)
class Defended:
    """A trained classifier as its users, and the attacker, meet it, on the experiment's device."""

    classifier: nn.Module
    settings: dict[str, Any]  # of the defence
    privacy: dict[str, float] | None  # what DP-SGD spent


def load_classifier(experiment: Experiment, *, model: str, defense: str) -> Defended:
    """Read a trained classifier. Its wrapper works with the settings it was trained with, where the file knows them."""
    path = experiment.folder.classifier(model=model, defense=defense)
    kind = DEFENSES[defense]
    state = storage.load_checkpoint(path, expect={"state_dict": dict})
    classifier = models.build_classifier(
        model, experiment.classifier_config, experiment.spec, seed=experiment.seed, group_norm=kind.group_norm
    )
    storage.load_weights(classifier.network, state["state_dict"], path=path)
    if "made_from" in state:
        settings = config.parse(state["made_from"]["settings"], kind.config, source=str(path))
    else:
        settings = config.load(experiment.folder.config(defense), kind.config)
    wrapped = kind.wrap(classifier, state, settings, seed=experiment.seed)
    wrapped = wrapped.to(experiment.device).eval().requires_grad_(False)
    return Defended(wrapped, settings.model_dump(), state.get("privacy"))


def load_denoiser(experiment: Experiment) -> Denoiser:
    folder = experiment.folder
    return ddpm_training.load_denoiser(
        folder.ddpm, folder.ddpm_flags, channels=experiment.spec.channels, device=experiment.device
    )


def build_fence(
    experiment: Experiment, classifier: Callable[[torch.Tensor], torch.Tensor], fence: config.DiffenceConfig
) -> Diffence:
    """The classifier behind this dataset's diffusion model, with no interval yet."""
    denoiser = load_denoiser(experiment)
    if fence.step > denoiser.num_steps:
        raise UserError(f"step {fence.step} (-T): the diffusion model has {denoiser.num_steps} steps")
    return Diffence(classifier, denoiser, num_candidates=fence.num_candidates, step=fence.step, seed=experiment.seed)


def candidate_banks(experiment: Experiment, settings: Settings, defended: Defended) -> dict[str, Bank]:
    """The bank of every role, read from disk where it is there and computed (and kept) where it is not."""
    fenced = build_fence(experiment, defended.classifier, settings.fence)
    store = BankStore(experiment, settings, defended)
    roles = experiment.partition.roles(settings.protocol.num_sample)
    parts = {
        role: (experiment.training_part(indices.members), experiment.test_part(indices.non_members))
        for role, indices in roles.items()
    }
    banks = {}
    total = sum(len(part) for pair in parts.values() for part in pair)
    with tqdm(total=total, unit="sample", desc=f"purify {settings.defense}") as bar:
        for role, (members, non_members) in parts.items():
            banks[role] = Bank(
                members=store.candidates(fenced, members, bar),
                non_members=store.candidates(fenced, non_members, bar),
                member_labels=members.labels.cpu(),
                non_member_labels=non_members.labels.cpu(),
            )
    return banks


class BankStore:
    """Candidate logits on disk, in groups of samples; a group is named by everything its logits depend on.

    Groups are fixed by position, so a group is always computed in the same batches and has the same bits.
    """

    def __init__(self, experiment: Experiment, settings: Settings, defended: Defended) -> None:
        classifier, ddpm, flags, _ = _input_files(experiment, settings)
        self.group_size = settings.fence.group_size
        self.num_classes = experiment.spec.num_classes
        key = {
            "files": [storage.file_sha256(file) for file in (classifier, ddpm, flags)],
            "classifier": experiment.classifier_config.model_dump()[settings.model],
            "defense": defended.settings,
            "fence": settings.fence.model_dump(exclude={"scenario"}),
            "seed": experiment.seed,
            "device": experiment.device.type,
        }
        self.folder = experiment.folder.banks / storage.digest(key)

    def candidates(self, fenced: Diffence, part: Labelled, bar: tqdm) -> torch.Tensor:
        """float32 [n, N + 1, K] of the part's samples."""
        return torch.cat([self._group(fenced, images, bar) for images in part.images.split(self.group_size)])

    def _group(self, fenced: Diffence, images: torch.Tensor, bar: tqdm) -> torch.Tensor:
        path = self.folder / f"{_digest_of(images)}.npy"
        expected = (len(images), fenced.num_candidates + 1, self.num_classes)
        logits = _read_group(path, expected)
        if logits is None:
            logits = fenced.candidates(to_float(images))
            storage.write_array(path, logits.numpy())
        bar.update(len(images))
        return logits


def _digest_of(images: torch.Tensor) -> str:
    return storage.digest([storage.bytes_sha256(image.cpu().numpy().tobytes()) for image in images])


def _read_group(path: Path, shape: tuple[int, ...]) -> torch.Tensor | None:
    """A finished group, or None where it is missing or not what it should be (then it is computed again)."""
    if not path.is_file():
        return None
    try:
        logits = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        return None
    usable = logits.shape == shape and logits.dtype == np.float32 and np.isfinite(logits).all()
    return torch.from_numpy(logits) if usable else None


def _judge(
    banks: dict[str, Bank],
    interval: Interval | None,
    protocol: config.EvaluationConfig,
    bootstrap: metrics.Bootstrap,
    *,
    seed: int,
) -> Verdict:
    test = banks["final_test"].answers(interval)
    scores = suite.run(banks["attack_fit"].answers(interval), test, protocol.nn_attack, seed=seed)
    raw_labels = banks["final_test"].answers(None).logits.argmax(axis=1)
    return Verdict(
        interval=interval,
        test=test,
        scores=scores,
        aucs={name: bootstrap.aucs(values, test.member) for name, values in scores.items()},
        label_agreement=float((test.logits.argmax(axis=1) == raw_labels).mean()),
        raw_answer_rate=1.0 if interval is None else banks["final_test"].raw_answer_rate(interval),
    )


def fence_for(
    root: Path,
    classifier: Callable[[torch.Tensor], torch.Tensor],
    *,
    scenario: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Diffence:
    """A dataset folder's Diffence round any classifier of its images, its interval tuned on the tuning role.

    classifier: images [B, C, H, W] in [0, 1] on ``device`` -> logits [B, K], trained on the folder's members
    scenario:   as in ``diffence.tune_interval``; the default is that of configs/diffence.yaml

    Raises UserError where partition or diffusion model are missing.
    """
    experiment = Experiment.at(DatasetFolder(root), seed=seed, device=device)
    folder = experiment.folder
    settings = config.load(folder.config("diffence"), config.DiffenceConfig)
    protocol = config.load(folder.config("evaluation"), config.EvaluationConfig)
    folder.require(folder.ddpm, "python train_ddpm.py")
    fenced = build_fence(experiment, classifier, settings)
    role = experiment.partition.roles(protocol.num_sample)["tuning"]
    members, non_members = experiment.training_part(role.members), experiment.test_part(role.non_members)
    fenced.interval = diffence.tune_interval(
        fenced.candidates(to_float(members.images)),
        fenced.candidates(to_float(non_members.images)),
        scenario=scenario or settings.scenario,
    )
    return fenced
