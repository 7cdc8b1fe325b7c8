"""Audit a classifier without a dataset folder and without a diffusion model, by what it answered."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.attacks.observations import Observations
from common.attacks.statistics import phi_of
from common.evaluation import audit as audits
from common.evaluation.audit import Audit
from common.evaluation.outputs import Logits, logits_of
from common.evaluation.protocols import EvaluationConfig
from common.evaluation.record import Report
from common.formats import answers as saved
from common.runtime import config
from common.runtime.errors import UserError
from common.runtime.modes import Answers
from common.runtime.paths import EVALUATION


def settings(changes: Mapping[str, Any] | None = None) -> EvaluationConfig:
    """common/configs/evaluation.yaml, some of its values replaced: dotted path -> value."""
    return config.load(EVALUATION, EvaluationConfig, changes)


def audit(
    answers: Any,
    labels: Any,
    member: Any,
    *,
    outputs: Answers | None = None,
    fitting: Any = None,
    shadow_answers: Any = None,
    in_shadow: Any = None,
    name: str = "classifier",
    attacks: Sequence[str] | None = None,
    seed: int = 0,
    changes: Mapping[str, Any] | None = None,
) -> Report:
    """Attack a classifier by its answers to images whose membership is known, and report what the attacks get.

    answers:         float [n, K], logits or probabilities: whatever numpy takes for an array
    labels:          [n], the true labels, 0 … K - 1
    member:          bool [n], or 0 and 1: the sample was in the training set
    outputs:         what answers are; None tells it by their sums, and refuses where these leave it open
    fitting:         bool [n], samples that attacks are fitted on; they are judged by the others. None draws halves by
                     the seed
    shadow_answers:  float [S, n, K], of S shadow models to the same samples, of the same kind as answers
    in_shadow:       bool [S, n], which samples each shadow model was trained on
    name:            of the classifier, for the report
    attacks:         by name; None takes all that answers alone allow
    changes:         of values of common/configs/evaluation.yaml: {"bootstrap": 200}

    Raises ValueError naming what does not fit.
    """
    found = logits_of(answers, outputs)
    observations = _observed(found, labels, member, shadow_answers, in_shadow)
    given: dict[str, Any] = {"outputs": found.outputs, "notes": found.notes, "fitting": fitting}
    return audits.audit(observations, settings(changes), name=name, attacks=attacks, seed=seed, **given).report


def of_file(path: Path, config: EvaluationConfig, *, outputs: Answers | None, **how: Any) -> Audit:
    """Audit by the answers in a file; ``how`` as for ``common.evaluation.audit.audit``. Raises UserError naming it."""
    file = saved.read(path)
    if outputs is not None and file.outputs not in (None, outputs):
        raise UserError(f"{path} has {file.outputs}, and --outputs says {outputs}")
    given: dict[str, Any] = {"fitting": file.fitting, "inputs": {path.name: file.sha256}}
    try:
        found = logits_of(file.answers, outputs or file.outputs)
        observations = _observed(found, file.labels, file.member, file.shadow_answers, file.in_shadow)
        return audits.audit(observations, config, outputs=found.outputs, notes=found.notes, **given, **how)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _observed(found: Logits, labels: Any, member: Any, shadow_answers: Any, in_shadow: Any) -> Observations:
    alone = Observations.of_images(found.values, labels, member)
    phi = None
    if shadow_answers is not None:
        of_shadows = logits_of(shadow_answers, found.outputs, name="shadow_answers", shape="[S, n, K]").values
        if of_shadows.shape[1:] != found.values.shape:
            raise ValueError(f"shadow_answers {of_shadows.shape}: expected [S, *{found.values.shape}]")
        phi = np.stack([phi_of(each, alone.labels) for each in of_shadows])[..., None]
    return Observations(alone.answers, labels, member, shadow_phi=phi, in_shadow=in_shadow)
