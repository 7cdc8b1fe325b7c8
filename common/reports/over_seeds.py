"""Evaluations over several seeds: mean and spread of every attack, without Diffence and with it."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from common.evaluation.record import Report, UnderProtocol
from common.reports import tables
from common.runtime.modes import TableStyle
from common.runtime.subject import Subject

Pairs = Sequence[tuple[Report, Report]]
"""Of each seed, without Diffence and with it."""

NOTHING = "-"
READING = (
    "Mean and standard deviation over the seeds, each with its own partition, diffusion model, classifier, fence and "
    "attacks. Strongest: of all attacks, by the final test itself, so too great by chance; chosen: by the fitting role "
    "alone."
)
HEADER = [
    "defence",
    "seeds",
    "test accuracy",
    "strongest AUC, alone",
    "with Diffence",
    "chosen AUC, alone",
    "with Diffence",
    "one query at best, with",
    "calibration error, alone / with",
]
ATTACK_HEADER = ["attack", "queries", "AUC alone", "AUC with Diffence", "difference", "TPR at 1 % FPR, alone / with"]


def table(found: Mapping[Subject, Pairs], *, style: TableStyle) -> str:
    """All defences in one table, and the attacks of each in one of its own."""
    make, mark = tables.STYLES[style], "#### " if style == "markdown" else ""
    parts = [READING, make(HEADER, [_row(subject, pairs) for subject, pairs in found.items()])]
    for subject, pairs in found.items():
        seeds = ", ".join(str(fenced.seed) for _, fenced in pairs)
        parts += [f"{mark}{subject}, seeds {seeds}", make(ATTACK_HEADER, list(_attack_rows(pairs)))]
    return "\n\n".join(parts)


def _row(subject: Subject, pairs: Pairs) -> list[str]:
    def both(get: Callable[[UnderProtocol], float | None]) -> list[str]:
        return [spread([get(part) for part in column]) for column in zip(*map(_parts, pairs), strict=True)]

    return [
        subject.defense if subject.model == "resnet" else str(subject),
        str(len(pairs)),
        spread([fenced.accuracy.test for _, fenced in pairs]),
        *both(lambda part: part.best.auc),
        *both(lambda part: None if part.chosen is None else part.chosen.auc),
        both(_best_of_one_query)[1],
        " / ".join(both(_calibration_error)),
    ]


def _attack_rows(pairs: Pairs) -> Iterator[list[str]]:
    parts = [_parts(pair) for pair in pairs]
    for name in dict.fromkeys(name for without, fenced in parts for name in fenced.attacks if name in without.attacks):
        rows = [
            (without.attacks[name], fenced.attacks[name])
            for without, fenced in parts
            if name in without.attacks and name in fenced.attacks
        ]
        alone, behind = zip(*rows, strict=True)
        yield [
            name,
            str(behind[0].queries or NOTHING),
            spread([row.auc for row in alone]),
            spread([row.auc for row in behind]),
            spread([after.auc - before.auc for before, after in rows], sign="+"),
            " / ".join(spread([row.tpr_at_fpr.get("0.01") for row in side]) for side in (alone, behind)),
        ]


def _best_of_one_query(part: UnderProtocol) -> float | None:
    return max((row.auc for row in part.attacks.values() if row.queries == 1), default=None)


def _calibration_error(part: UnderProtocol) -> float | None:
    return None if part.utility is None else part.utility.calibration_error.value


def _parts(pair: tuple[Report, Report]) -> tuple[UnderProtocol, UnderProtocol]:
    without, fenced = pair
    return without.protocols[without.main], fenced.protocols[fenced.main]


def spread(values: Sequence[float | None], *, sign: str = "") -> str:
    """Mean and standard deviation (of one value none)."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return NOTHING
    mean = f"{np.mean(known):{sign}.3f}"
    return mean if len(known) == 1 else f"{mean} ± {np.std(known, ddof=1):.3f}"
