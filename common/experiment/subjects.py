"""From a checkpoint to a classifier as its users, and the attacker, meet it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.defenses import DEFENSES
from common.evaluation.record import Privacy
from common.experiment.experiment import Experiment
from common.formats import published
from common.models.classifiers import Classifier, build_classifier
from common.runtime import config, storage
from common.runtime.errors import UserError
from common.runtime.subject import Subject
from common.training.jobs import Provenance


@dataclass(frozen=True)
class Defended:
    """A trained classifier with its defence, on the experiment's device.

    settings:   of the defence
    privacy:    what DP-SGD spent
    partition:  the key of the one it was trained on; None where its file does not know it
    """

    classifier: nn.Module
    settings: dict[str, Any]
    privacy: Privacy | None
    partition: str | None


def load_classifier(experiment: Experiment, subject: Subject) -> Defended:
    """Read a trained classifier, in our own form or in the published one, with BatchNorm or GroupNorm.

    Its wrapper works with the settings it was trained with, where the file knows them; else with those of the YAML, and
    for a file in the published form with the published ones.
    """
    path, kind = experiment.folder.classifier(subject), DEFENSES[subject.defense]
    state = storage.load_checkpoint(path, expect={"state_dict": dict})
    classifier = _with_weights(experiment, state, path, model=subject.model)
    made_from = _provenance(state, path)
    if kind.needs_undefended and made_from and made_from.tuning_members != experiment.tuning_members_key:
        raise UserError(
            f"{experiment.folder.shown(path)} was trained on other tuning members than there are now: "
            f"train it again with `{subject.training_command}` in {experiment.folder.name}"
        )
    if made_from:
        settings = config.parse(made_from.settings, kind.config, source=str(path))
    else:
        form = "published/" if published.is_published(state["state_dict"]) else ""
        settings = config.load(experiment.folder.config(form + subject.defense), kind.config)
    wrapped = kind.wrap(classifier, state, settings, seed=experiment.seed, path=path)
    wrapped = wrapped.to(experiment.device).eval().requires_grad_(False)
    spent = state.get("privacy")
    privacy = None if spent is None else config.parse(spent, Privacy, source=f"{path}: privacy")
    return Defended(wrapped, settings.model_dump(), privacy, made_from.partition if made_from else None)


def undefended_weights(experiment: Experiment, *, model: str) -> dict[str, torch.Tensor]:
    """The checked weights of the undefended classifier, under this project's names."""
    path = experiment.folder.classifier(Subject(model))
    state = storage.load_checkpoint(path, expect={"state_dict": dict})
    _with_weights(experiment, state, path, model=model)
    return published.own_form(state["state_dict"], source=str(path))


def _with_weights(experiment: Experiment, state: dict[str, Any], path: Path, *, model: str) -> Classifier:
    weights = published.own_form(state["state_dict"], source=str(path))
    classifier = build_classifier(
        model,
        experiment.classifier_config,
        experiment.spec,
        seed=experiment.seed,
        group_norm=published.has_group_norm(weights),
    )
    storage.load_weights(classifier.network, weights, path=path)
    return classifier


def _provenance(state: dict[str, Any], path: Path) -> Provenance | None:
    """What the checkpoint says that it was made from; None where it says nothing."""
    return config.parse(state["made_from"], Provenance, source=f"{path}: made_from") if "made_from" in state else None
