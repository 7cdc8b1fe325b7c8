"""An audit by answers alone: what a classifier said of images whose membership is known, and what attacks make of it.

No fence, no diffusion model, no dataset folder. The attacks are fitted on one part of the samples and judged on the
other, as in the held-out protocol.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.attacks import ATTACKS, SHADOW_ATTACKS
from common.attacks.door import members_in
from common.attacks.observations import Observations
from common.attacks.statistics import phi
from common.evaluation.answers import Answered
from common.evaluation.judge import Resamples, Verdict, judge_answers
from common.evaluation.origin import Made
from common.evaluation.protocols import HELD_OUT, EvaluationConfig, Protocol
from common.evaluation.record import Accuracy, Counts, Report
from common.evaluation.run import alone, versions
from common.runtime import rng
from common.runtime.images import Labelled
from common.runtime.modes import Answers

OF_A_FENCE = ("edges", "work")
"""Attacks that look at how a fence answers: there is none."""
LEAST = 2  # members, and non-members, of each part
FAST = "fast"


@dataclass(frozen=True)
class Audit:
    """A report with what is behind it.

    verdict:  with the scores of the samples that attacks are judged by
    indices:  int64 [n], of these samples, in the order in which they were given
    samples:  themselves, where the classifier was asked
    """

    report: Report
    verdict: Verdict
    indices: np.ndarray
    samples: Labelled | None = None


def protocol(chosen: Sequence[str] | None, *, shadows: bool) -> Protocol:
    """The held-out one for some attacks, "fast" being all that are fast and do not look at a fence; None takes those.

    shadows:  whether there are answers of shadow models, which fast attacks then use too
    """
    names = list(chosen or [FAST])
    if FAST in names:
        names += [name for name, attack in ATTACKS.items() if attack.fast]
        names += SHADOW_ATTACKS if shadows else ()
    left_out = (FAST, *OF_A_FENCE)
    return Protocol(
        HELD_OUT.name, chooses=HELD_OUT.chooses, chosen=tuple(name for name in names if name not in left_out)
    )


def split(member: np.ndarray, fitting: np.ndarray | None, *, num_sample: int, seed: int) -> dict[str, np.ndarray]:
    """Which samples attacks are fitted on, and which they are judged by: int64 indices, members first.

    member:      bool [n]
    fitting:     bool [n], the samples to fit on; None draws halves of members and of non-members by the seed
    num_sample:  of either kind in either part at most, drawn by the seed

    Raises ValueError where a part has fewer than two members or non-members.
    """
    generator = rng.numpy_generator(seed, "audit")
    parts: dict[str, list[np.ndarray]] = {HELD_OUT.fitting: [], HELD_OUT.test: []}
    for kind, of_kind in (("members", member), ("non-members", ~member)):
        order = generator.permutation(np.flatnonzero(of_kind))
        half = np.arange(len(order)) < len(order) // 2 if fitting is None else fitting[order]
        for (role, found), chosen in zip(parts.items(), (order[half], order[~half]), strict=True):
            if len(chosen) < LEAST:
                purpose = "to fit attacks on" if role == HELD_OUT.fitting else "to judge them by"
                raise ValueError(
                    f"{len(chosen)} {kind} {purpose} are too few: an audit needs at least {LEAST} in each part, so "
                    f"{2 * LEAST} members and {2 * LEAST} non-members"
                )
            found.append(np.sort(chosen[:num_sample]))
    return {role: np.concatenate(found) for role, found in parts.items()}


def audit(
    observations: Observations,
    config: EvaluationConfig,
    *,
    outputs: Answers,
    name: str,
    fitting: np.ndarray | None = None,
    attacks: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    inputs: Mapping[str, str] | None = None,
    made: Made | None = None,
    seed: int = 0,
) -> Audit:
    """Attack a classifier by what is known of its answers.

    observations:  logits, labels, membership, and what else was asked
    outputs:       what the classifier answers; the observations' logits are the logarithm of probabilities
    name:          of the classifier, as the report has it
    fitting:       bool [n], the samples that attacks are fitted on; None: a half, by the seed
    attacks:       by name; None takes those that need no search for the boundary
    notes:         what a reader must see beside the numbers
    inputs:        file -> sha256 of what was read
    made:          how the report comes about

    Raises ValueError where there are too few samples of a kind, or none of the attacks can run.
    """
    given = None if fitting is None else members_in(fitting, shape=(len(observations),), name="fitting")
    places = split(observations.membership, given, num_sample=config.num_sample, seed=seed)
    used, there = sum(map(len, places.values())), len(observations)
    if used < there:
        notes = [*notes, f"{used} of {there} samples are used (num_sample: {config.num_sample} of a kind in a part)"]
    answered = {role: _answered(observations[rows]) for role, rows in places.items()}
    judged = protocol(attacks, shadows=observations.shadow_phi is not None)
    member = {role: part.observations.membership for role, part in answered.items()}
    resamples = Resamples.draw(
        judged, fitting=member[judged.fitting], test=member[judged.test], config=config, seed=seed
    )
    found = judge_answers(judged, answered, resamples, config, seed=seed)
    of_a_fence = dict.fromkeys(set(OF_A_FENCE) & set(attacks or ()), "looks at how a fence answers, and there is none")
    found = replace(found, not_run=found.not_run | of_a_fence)
    if not found.attacks:
        raise ValueError("; ".join(f"{name}: {reason}" for name, reason in sorted(found.not_run.items())))
    part = alone(found, resamples.test)
    report = Report(
        dataset=name,
        defense="unknown",
        model="given",
        outputs=outputs,
        diffence=False,
        accuracy=Accuracy.model_validate(found.accuracy),
        label_agreement=part.label_agreement,
        raw_answer_rate=part.raw_answer_rate,
        reconstructions_per_query=part.reconstructions_per_query,
        protocols={judged.name: part},
        counts={
            role: Counts(members=int(of_role.sum()), non_members=int((~of_role).sum()))
            for role, of_role in member.items()
        },
        notes=list(notes),
        config={"evaluation": config.model_dump()},
        seed=seed,
        versions=versions(),
        inputs=dict(inputs or {}),
        made=made,
    )
    return Audit(report, found, places[judged.test])


def _answered(observations: Observations) -> Answered:
    logits = observations.logits
    return Answered(observations, phi(logits), logits.argmax(axis=1), np.ones(len(logits), dtype=bool))
