"""A whole evaluation of one subject: candidates, verdicts under each protocol, and the two reports."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from common import __version__
from common.data.membership import Membership
from common.diffence.measures import DiffenceConfig
from common.evaluation import utility
from common.evaluation.answers import FencedPopulation
from common.evaluation.judge import Pair, Verdict, judge
from common.evaluation.origin import Made, PermutationRecord
from common.evaluation.protocols import HELD_OUT, PROTOCOLS, Drawn, EvaluationConfig, Protocol, draw, queries
from common.evaluation.record import Accuracy, Counts, Privacy, Report, UnderProtocol
from common.runtime import distributed, progress
from common.runtime.modes import FenceName
from common.runtime.subject import Subject
from common.statistics.bootstrap import Bootstrap


@dataclass(frozen=True)
class Settings:
    """What an evaluation computes; command-line options have been merged in."""

    subject: Subject
    fence: DiffenceConfig
    evaluation: EvaluationConfig
    protocols: Sequence[Protocol] = tuple(PROTOCOLS.values())


@dataclass(frozen=True)
class Evaluation:
    """The verdicts by protocol, and how many samples each role has."""

    pairs: Mapping[str, Pair]
    counts: Mapping[str, Mapping[str, int]]

    @property
    def main(self) -> Pair:
        """What is shown first: the held-out protocol, or the only one."""
        return self.pairs.get(HELD_OUT.name) or next(iter(self.pairs.values()))


@dataclass(frozen=True)
class Circumstances:
    """What a report says of an evaluation beside its numbers.

    privacy:     what DP-SGD spent on the classifier
    unchecked:   lines that name files which carry no checksum
    inputs:      file -> sha256 of the bytes that were read
    milliseconds_per_query:  one at a time, without Diffence and with it
    run:         names the evaluation by what differs from the YAML files
    made:        how it came about
    """

    dataset: str
    seed: int
    privacy: Privacy | None
    membership: Membership
    unchecked: Sequence[str]
    inputs: dict[str, str]
    seconds: float
    milliseconds_per_query: tuple[float, float] | None = None
    run: str | None = None
    made: Made | None = None


def evaluate(fences: Mapping[FenceName, FencedPopulation], settings: Settings, *, seed: int) -> Evaluation | None:
    """Judge one classifier, alone and behind its fences, under each of the protocols.

    Of several processes the first judges; the others get None.
    """
    drawn: list[Drawn] = []
    desc, shown, config = f"purify {settings.subject.defense}", distributed.is_first(), settings.evaluation
    total = sum(queries(fences[protocol.fence], protocol, config) for protocol in settings.protocols)
    with progress.outer(total=total, unit="query", desc=desc, shown=shown) as bar:
        for protocol in settings.protocols:
            fenced, fence = fences[protocol.fence], settings.fence.of(protocol.fence)
            inner = f"  {protocol.name}"
            drawn.append(draw(fenced, protocol, config, fence=fence, desc=inner, before=drawn, tick=bar.update))
    if not distributed.is_first():
        return None
    pairs: dict[str, Pair] = {}
    for each in drawn:
        alike = (pair for pair in pairs.values() if each.protocol.sees_as(pair.protocol))
        without = next((pair.without for pair in alike), None)
        pairs[each.protocol.name] = judge(each, settings.evaluation, seed=seed, without=without)
    counts = {name: role.counts for each in drawn for name, role in each.roles.items()}
    return Evaluation(pairs, counts)


def report(evaluation: Evaluation, settings: Settings, about: Circumstances, *, fenced: bool) -> Report:
    """The report of the classifier behind Diffence, or of the classifier alone.

    Behind Diffence DP-SGD guarantees nothing: the diffusion model has seen the members, and so has the tuned interval.
    """
    main, membership = evaluation.main, about.membership
    permutation = membership.permutation
    return Report(
        dataset=about.dataset,
        defense=settings.subject.defense,
        model=settings.subject.model,
        original=settings.subject.original,
        diffence=fenced,
        **_service(main.fenced if fenced else main.without),
        protocols={name: under_protocol(pair, fenced=fenced) for name, pair in evaluation.pairs.items()},
        counts={role: Counts.model_validate(count) for role, count in evaluation.counts.items()},
        privacy=None if fenced else about.privacy,
        permutation=PermutationRecord(
            source=permutation.source,
            sha256=permutation.sha256,
            published=permutation.published,
            trained_with_it=membership.trained_with_it,
        ),
        notes=[*membership.lines, *about.unchecked],
        config={"diffence": settings.fence.model_dump(), "evaluation": settings.evaluation.model_dump()},
        seed=about.seed,
        versions=versions(),
        inputs=about.inputs,
        seconds=about.seconds,
        run=about.run,
        made=about.made,
        milliseconds_per_query=None if about.milliseconds_per_query is None else about.milliseconds_per_query[fenced],
    )


def _service(verdict: Verdict) -> dict[str, Any]:
    """What the answers are worth to their users, under the names of both places where a report has it."""
    interval = verdict.interval
    return {
        "interval": list(interval) if interval is not None and np.isfinite(interval).all() else None,
        "accuracy": Accuracy.model_validate(verdict.accuracy),
        "label_agreement": verdict.test.label_agreement,
        "raw_answer_rate": verdict.test.raw_answer_rate,
        "reconstructions_per_query": verdict.reconstructions_per_query,
    }


def alone(verdict: Verdict, resamples: Bootstrap) -> UnderProtocol:
    """What a report says of a verdict by itself; ``resamples`` are of the test role."""
    return UnderProtocol(
        attacks={name: judged.measured for name, judged in verdict.attacks.items()},
        not_run=verdict.not_run,
        best=verdict.best,
        chosen=verdict.chosen,
        utility=utility.of(verdict.test, resamples),
        **_service(verdict),
    )


def under_protocol(pair: Pair, *, fenced: bool) -> UnderProtocol:
    """What a report says of the fenced classifier, or of the classifier alone, under one protocol."""
    if not fenced:
        return alone(pair.without, pair.bootstrap)
    found = alone(pair.fenced, pair.bootstrap)
    differences = {name: {"difference": pair.auc_difference(name)} for name in found.attacks}
    return found.model_copy(
        update={
            "attacks": {name: row.model_copy(update=differences[name]) for name, row in found.attacks.items()},
            "best": found.best.model_copy(update={"difference": pair.best_difference()}),
            "chosen": found.chosen and found.chosen.model_copy(update={"difference": pair.chosen_difference()}),
            "reduction": pair.reduction,
        }
    )


def versions() -> dict[str, str]:
    packages = ("torch", "torchvision", "numpy", "scipy", "scikit-learn")
    own = {"diffence": __version__, "python": platform.python_version()}
    return own | {name: version(name) for name in packages}
