"""From a checkpoint to a classifier as its users, and the attacker, meet it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.data.membership import Membership, membership
from common.data.partition import Partition
from common.defenses import DEFENSES
from common.evaluation.record import Privacy
from common.experiment.experiment import Experiment
from common.formats import published
from common.formats.diffusion_model import DiffusionModel
from common.models import MODELS
from common.models.classifiers import Classifier, build_classifier
from common.runtime import checkpoints, config
from common.runtime.errors import UserError
from common.runtime.storage import FileRead
from common.runtime.subject import Subject
from common.training.provenance import Provenance, difference


@dataclass(frozen=True)
class Defended:
    """A trained classifier with its defence, on the experiment's device.

    settings:   of the defence
    privacy:    what DP-SGD spent
    partition:  the key of the one it was trained on; None where its file does not know it
    file:       what it was read from, as it was read
    brought:    it was trained elsewhere, and its user vouches that these are its members
    """

    classifier: nn.Module
    settings: dict[str, Any]
    privacy: Privacy | None
    partition: str | None
    file: FileRead
    brought: bool = False

    def membership(self, partition: Partition, diffusion: DiffusionModel) -> Membership:
        """Whether a partition's members are its own, and those of a diffusion model."""
        made_from = diffusion.made_from
        diffusion_on = None if made_from is None else made_from.partition
        return membership(partition, trained_on=self.partition, diffusion_on=diffusion_on, brought=self.brought)


def load_classifier(experiment: Experiment, subject: Subject) -> Defended:
    """Read a trained classifier, in our own form or in the published one, with BatchNorm or GroupNorm.

    Its wrapper works with the settings it was trained with, where the file knows them; else with those of the YAML, and
    for a file in the published form with the published ones.
    """
    path, kind = experiment.folder.classifier(subject), DEFENSES[subject.defense]
    file, state = _read(path)
    made_from = _provenance(experiment, subject, state, path)
    classifier = with_weights(experiment, state, path, subject)
    if kind.needs_undefended and made_from and made_from.tuning_members != experiment.tuning_members_key:
        raise UserError(
            f"{experiment.folder.shown(path)} was trained on other tuning members than there are now: "
            f"train it again with `{subject.training_command}` in {experiment.folder.name}"
        )
    if made_from and made_from.brought is None:
        settings = config.parse(made_from.settings, kind.config, source=str(path))
    else:
        theirs = subject.original is None and subject.model in MODELS and published.is_published(state["state_dict"])
        name = f"published/{subject.defense}" if theirs else subject.settings
        settings = config.load(experiment.folder.config(name), kind.config)
    wrapped = kind.wrap(classifier, state, settings, seed=experiment.seed, path=path)
    wrapped = wrapped.to(experiment.device).eval().requires_grad_(False)
    privacy = _privacy(state, subject, path)
    partition, brought = (made_from.partition, made_from.brought is not None) if made_from else (None, False)
    return Defended(wrapped, settings.model_dump(), privacy, partition, file, brought)


def undefended_weights(experiment: Experiment, subject: Subject, *, sha256: str) -> dict[str, torch.Tensor]:
    """The checked weights of the undefended classifier that a defence protects, under this project's names.

    Raises UserError where its file is no longer the one of that sha256, or is of another network than there is now.
    """
    path = experiment.folder.classifier(subject.undefended)
    file, state = _read(path)
    if file.sha256 != sha256:
        raise UserError(f"{path} was replaced while this command ran: run it again")
    _provenance(experiment, subject.undefended, state, path)
    with_weights(experiment, state, path, subject.undefended)
    return _weights(state, path, subject)


def _read(path: Path) -> tuple[FileRead, dict[str, Any]]:
    read = checkpoints.read(path, expect={"state_dict": dict})
    return FileRead(path, read.sha256, read.checked), read.content


def _weights(state: dict[str, Any], path: Path, subject: Subject) -> dict[str, torch.Tensor]:
    """Under this project's names; those of a network that is not known by name are its own."""
    translated = published.own_form if subject.model in MODELS else published.without_prefix
    return translated(state["state_dict"], source=str(path))


def with_weights(experiment: Experiment, state: dict[str, Any], path: Path, subject: Subject) -> Classifier:
    """A subject's network with a checkpoint's weights. Raises UserError naming the file where they do not fit."""
    weights = _weights(state, path, subject)
    named = subject.model in MODELS
    classifier = build_classifier(
        subject.model,
        experiment.classifier_config,
        experiment.spec,
        seed=experiment.seed,
        group_norm=published.has_group_norm(weights) if named else DEFENSES[subject.defense].group_norm,
    )
    checkpoints.load_weights(classifier.network, weights, path=path)
    return classifier


def _provenance(experiment: Experiment, subject: Subject, state: dict[str, Any], path: Path) -> Provenance | None:
    """What the checkpoint says that it was made from; None where it says nothing.

    Raises UserError where that is another dataset, defence or paper's settings than the path says, or another network
    than there is now.
    """
    if "made_from" not in state:
        return None
    made_from = config.parse(state["made_from"], Provenance, source=f"{path}: made_from")
    found = (made_from.defense, made_from.dataset, made_from.original)
    wanted = (subject.defense, experiment.folder.name, subject.original)
    if found != wanted:
        raise UserError(f"{path}: was trained as {_said(*found)}, and stands where {_said(*wanted)} is to be")
    _require_same_network(experiment, subject, made_from, path)
    return made_from


def _require_same_network(experiment: Experiment, subject: Subject, made_from: Provenance, path: Path) -> None:
    """Raise UserError where a checkpoint says another network than there is now, though its weights may fit that."""
    now = {subject.model: experiment.classifier_settings(subject.model), "normalisation": experiment.normalisation}
    said = {**(made_from.classifier or {}), "normalisation": made_from.normalisation}
    trained = now | {name: settings for name, settings in said.items() if settings is not None}
    changed = difference(_without_dropout(trained), _without_dropout(now))
    if changed:
        again, source = ("bring", " --from FILE") if made_from.brought else ("train", "")
        raise UserError(
            f"{path}: was trained with another network than {subject.model} makes now ({changed}): put the old one "
            f"back, or {again} it again with `{subject.training_command}{source}` in {experiment.folder.name}"
        )


def _without_dropout(parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What an evaluation depends on."""
    return {part: {name: value for name, value in each.items() if name != "dropout"} for part, each in parts.items()}


def _said(defense: str | None, dataset: str, original: str | None) -> str:
    return f"{defense} of {dataset}" + ("" if original is None else f" as in {original}'s paper")


def _privacy(state: dict[str, Any], subject: Subject, path: Path) -> Privacy | None:
    """What the checkpoint says that its training spent. Raises UserError where its defence has no such guarantee."""
    if state.get("privacy") is None:
        return None
    if subject.defense != "dpsgd":
        raise UserError(f"{path}: claims a privacy guarantee (privacy), which {subject.defense} does not give")
    return config.parse(state["privacy"], Privacy, source=f"{path}: privacy")
