"""Audit a classifier by asking it about images, of which is known who was in its training set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.data import given_images
from common.data.pool import lines_of
from common.evaluation import audit as audits
from common.evaluation import queried
from common.evaluation.audit import Audit
from common.evaluation.protocols import EvaluationConfig
from common.evaluation.queried import Classify
from common.formats import given_model
from common.runtime.device import resolve
from common.runtime.errors import UserError
from common.runtime.images import Labelled, Size
from common.runtime.modes import Answers


@dataclass(frozen=True)
class Normalisation:
    """What the classifier wants subtracted from images in [0, 1], and what they are then divided by, by channel."""

    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        mean, std = (torch.tensor(values, device=x.device).view(1, -1, 1, 1) for values in (self.mean, self.std))
        if {len(self.mean), len(self.std)} - {1, x.shape[1]}:
            raise UserError(f"--normalize: {len(self.mean)} and {len(self.std)} values for {x.shape[1]} channels")
        return (x - mean) / std


def images(
    members: Path, non_members: Path, *, classes: Path | None = None, size: Size | None = None
) -> tuple[Labelled, Labelled]:
    """What a classifier is asked about; see ``given_images.read``. classes: a file with a name on each line."""
    return given_images.read(members, non_members, classes=None if classes is None else _names(classes), size=size)


def _names(path: Path) -> list[str]:
    names = [line.strip() for line in lines_of(path) if line.strip()]
    if len(set(names)) < len(names):
        raise UserError(f"{path}: a class stands there twice")
    return names


def classify_with(
    classifier: Callable[[torch.Tensor], torch.Tensor], normalisation: Normalisation, device: torch.device
) -> Classify:
    @torch.no_grad()
    def classify(x: torch.Tensor) -> torch.Tensor:
        given = classifier(normalisation(x.to(device)))
        return given.cpu() if isinstance(given, torch.Tensor) else given

    return classify


def of_model(
    model: str,
    members: Labelled,
    non_members: Labelled,
    config: EvaluationConfig,
    *,
    outputs: Answers | None,
    normalisation: Normalisation,
    attacks: Sequence[str] | None,
    batch: int,
    device: str,
    seed: int,
    **how: Any,
) -> Audit:
    """Ask a classifier about images, uint8 [n, C, H, W], and attack it by what it answers.

    model:   package.module:function, or a file; see ``given_model.load``
    batch:   images that are asked together
    how:     as for ``common.evaluation.audit.audit``

    Raises UserError where the classifier cannot be loaded, or answers something else than [B, K].
    """
    where = resolve(device)
    classify = classify_with(given_model.load(model, where), normalisation, where)
    samples = Labelled(torch.cat([members.images, non_members.images]), torch.cat([members.labels, non_members.labels]))
    member = np.arange(len(samples)) < len(members)
    needs = audits.protocol(attacks, shadows=False).needs
    try:
        places = audits.split(member, None, num_sample=config.num_sample, seed=seed)
        fit_on, test = places.values()
        chosen = np.concatenate([fit_on, test])
        asked = samples[torch.from_numpy(chosen)]
        observations, found = queried.observe(
            classify, asked, member[chosen], needs, config.boundary, outputs=outputs, seed=seed, batch=batch
        )
        fitting = np.arange(len(chosen)) < len(fit_on)
        notes = list(found.notes)
        if len(chosen) < len(samples):
            notes.append(f"{len(chosen)} of {len(samples)} images are asked about (num_sample: {config.num_sample})")
        given: dict[str, Any] = {"outputs": found.outputs, "notes": notes, "fitting": fitting, "attacks": attacks}
        found_by = audits.audit(observations, config, seed=seed, **given, **how)
        judged = chosen[found_by.indices]  # of members and non-members together
        own = np.where(member[judged], judged, judged - len(members))
        return replace(found_by, indices=own, samples=samples[torch.from_numpy(judged)])
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"--model {model}: {error}") from error
