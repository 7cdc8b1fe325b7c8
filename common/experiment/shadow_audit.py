"""Audit a subject by its shadow models: raw, and behind each fence."""

import time
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch

from common.attacks.interface import Fitting
from common.attacks.lira import COPIES
from common.attacks.observations import QueryKind
from common.data.shadows import TARGET
from common.diffence.measures import Fence
from common.evaluation import run, shadow_audit
from common.evaluation.shadow_record import ShadowReport, UnderFence
from common.evaluation.shadows import Models, phi_of_true_label, rule_of
from common.experiment.fence import build_fence
from common.experiment.plan import Item, of_results
from common.experiment.shadow_store import Store, nobody
from common.reports import shadows as shadows_report
from common.runtime import checkpoints, distributed, ownership, progress, rng
from common.runtime.errors import UserError
from common.runtime.images import to_float
from common.runtime.modes import FenceName
from common.runtime.subject import Subject

DELTA = 1e-5  # of lower bounds on epsilon, where DP-SGD says no other one
NO_FENCE = "none"
FENCES: tuple[FenceName, ...] = ("paper", "steady")
LEAST = 8  # shadow models


def plan(store: Store) -> list[Item]:
    """The result folder."""
    folder = store.experiment.folder
    return [of_results(folder.shadow_results(store.subject) / "shadows.json", folder)]


def audit(store: Store) -> str | None:
    """Run all attacks that need shadow models and write the report; its text. Of several processes the first does."""
    if not distributed.is_first():
        return None
    with distributed.by_itself():
        return _audit(store)


def under_fences(store: Store, names: Collection[str]) -> dict[str, UnderFence]:
    """All attacks that need shadow models, behind the fences of these names, ``NO_FENCE`` being one."""
    models, _ = _models(store, _enough(store))
    return _under_fences(store, {name: seen for name, seen in models.items() if name in names})


def _enough(store: Store) -> list[int]:
    """The numbers of the models. Raises UserError where they are too few, or of other settings."""
    store.require()
    numbers = store.there()
    if len(numbers) <= LEAST or numbers[0] != TARGET:
        raise UserError(
            f"{store.experiment.folder.shown(store.folder)} has {max(0, len(numbers) - 1)} shadow models, and an audit "
            f"needs at least {LEAST}: train them with `{store.training_command}`"
        )
    return numbers


def _under_fences(store: Store, models: Mapping[str, Models]) -> dict[str, UnderFence]:
    config, places, found = store.experiment.evaluation_config, store.pool.places, {}
    fitting = Fitting(config, store.experiment.seed, hindsight_threshold=True)
    with progress.bar(total=len(models), unit="fence", desc="attacks by shadow models") as bar:
        for name, seen in models.items():
            delta = _delta(store)
            found[name] = shadow_audit.under_fence(seen, places, fitting, resamples=config.bootstrap, delta=delta)
            bar.update()
    return found


def _delta(store: Store) -> float:
    privacy = store.answers(TARGET).privacy
    return DELTA if privacy is None else privacy.delta


def _audit(store: Store) -> str:
    start = time.monotonic()
    experiment, numbers = store.experiment, _enough(store)
    results = experiment.folder.shadow_results(store.subject)
    with ownership.owned(results):
        models, accuracies = _models(store, numbers)
        places, fences = store.pool.places, _under_fences(store, models)
        vulnerable = shadow_audit.most_vulnerable(
            models,
            np.concatenate([places["final_test"], places["canaries"]]),
            indices=store.pool.indices,
            labels=store.pool.samples.labels.numpy(),
            canaries=store.pool.among.indices,
        )
        report = ShadowReport(
            dataset=experiment.folder.name,
            defense=store.subject.defense,
            model=store.subject.model,
            seed=experiment.seed,
            shadows=len(numbers) - 1,
            canaries=store.subject.canaries,
            diffusion=experiment.evaluation_config.shadows.diffusion,
            samples={name: len(of_role) for name, of_role in places.items()},
            test_accuracy=accuracies[0],
            mean_test_accuracy=float(np.mean(accuracies)),
            accounted=store.answers(TARGET).privacy,
            delta=_delta(store),
            fences=fences,
            vulnerable=vulnerable,
            notes=_notes(store),
            versions=run.versions(),
            seconds=round(time.monotonic() - start, 1),
        )
        return shadows_report.write(results, report, _pictured(store, [each.index for each in vulnerable]))


def _notes(store: Store) -> list[str]:
    """What the audit is not, where the classifier was trained elsewhere, or with the samples that are scored."""
    if store.trains_target and not store.subject.canaries:
        return [
            f"{store.subject.defense} learns from a reference set, which for the classifier itself are the non-members "
            "here. So the target is trained anew, like its shadow models, with test images as its reference set."
        ]
    settings = f"configs/{store.subject.settings}.yaml"
    if store.subject.canaries:
        if not _was_brought(store):
            return []
        return [
            "The classifier that was trained elsewhere is not among these models: with canaries the target is trained "
            f"here too, as {settings} says."
        ]
    if not store.target.brought:
        return store.warnings
    return [
        *store.warnings,
        f"Its shadow models are trained as {settings} says: where its own training was another, an attacker who knows "
        "that one does better than these.",
    ]


def _was_brought(store: Store) -> bool:
    """Whether the classifier in the dataset folder was trained elsewhere."""
    path = store.experiment.folder.classifier(Subject(store.subject.model, store.subject.defense))
    made_from = checkpoints.read(path, expect={}).content.get("made_from") if path.is_file() else None
    return isinstance(made_from, dict) and made_from.get("brought") is not None


def _pictured(store: Store, indices: Sequence[int]) -> dict[str, torch.Tensor]:
    """Rows of a picture: training images, and a reconstruction of each where the target's diffusion model is there."""
    experiment = store.experiment
    images = to_float(experiment.population.train.images[torch.tensor(indices, dtype=torch.int64)])
    rows, own = {"x": images}, store.own_diffusion(TARGET)
    if len(images) and (own is None or own.is_file()):
        fence, key = store.fences["own"]
        one = build_fence(nobody, store.diffusion(TARGET).denoiser, fence.with_measures(num_candidates=1), key=key)
        rows["denoised"] = one.reconstructions(images.to(experiment.device))[:, 0].float().cpu()
    return rows


def _models(store: Store, numbers: Sequence[int]) -> tuple[dict[str, Models], list[float]]:
    """What each model says of the true label, without a fence and behind each, and how accurate they are."""
    config, seed = store.experiment.fence_config, store.fences["near"][1]
    samples = store.pool.samples
    labels, keys = samples.labels.numpy(), [rng.sample_key(image) for image in to_float(samples.images)]
    tuning = store.pool.places["tuning"]
    fences: dict[str, Fence | None] = {NO_FENCE: None, **{name: config.of(name) for name in FENCES}}
    phis: dict[str, list[np.ndarray]] = {name: [] for name in fences}
    members, accuracies = [], []
    with progress.bar(total=len(numbers), unit="model", desc="answers of the models") as bar:
        for number in numbers:
            answers = store.answers(number)
            for name, fence in fences.items():
                rule = None
                if fence is not None:
                    rule = rule_of(answers.own[torch.from_numpy(tuning)], answers.member[tuning], fence)
                found = phi_of_true_label(answers.own, answers.near, rule, fence, labels, keys, seed=seed)
                phis[name].append(found)
            members.append(answers.member)
            accuracies.append(answers.test_accuracy)
            bar.update()
    copies: list[QueryKind] = ["near_copy"] * COPIES
    queries: tuple[QueryKind, ...] = ("image", *copies)
    return {name: Models(numbers, np.stack(phi), np.stack(members), queries) for name, phi in phis.items()}, accuracies
