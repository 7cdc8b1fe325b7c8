"""The table of what each measure of a fence leaves of the attacks."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from common.attacks import ATTACKS
from common.evaluation.record import Estimate, UnderProtocol, Utility
from common.reports import tables
from common.reports.over_seeds import spread
from common.runtime.modes import TableStyle

SHOWN = ("near_copies_16", "noisy_copies_5", "noisy_copies_15", "shifted_copies", "work", "everything")
HEADER = (
    "fence",
    "strongest AUC",
    "strongest of one query",
    "strongest by labels alone",
    *SHOWN,
    "test accuracy",
    "same label",
    "calibration error",
    "log-likelihood, negative",
    "reconstructions a query",
)


def table(found: Sequence[Mapping[str, UnderProtocol]], *, style: TableStyle = "text") -> str:
    """Of each seed the measures by name: mean and standard deviation over the seeds."""
    rows = [(name, *_cells([of_seed[name] for of_seed in found])) for name in found[0]]
    title = f"What each measure leaves of the attacks, over {len(found)} seeds" if len(found) > 1 else ""
    return "\n\n".join(filter(None, [title, tables.STYLES[style](HEADER, rows)])) + "\n"


def _cells(parts: Sequence[UnderProtocol]) -> list[str]:
    def over(get: Callable[[UnderProtocol], float | None]) -> str:
        return spread([get(part) for part in parts])

    return [
        over(lambda part: part.best.auc),
        over(lambda part: _greatest(part, lambda name: part.attacks[name].queries == 1)),
        over(lambda part: _greatest(part, lambda name: ATTACKS[name].sees == "label" or name == "correctness")),
        *(over(partial(_auc, name)) for name in SHOWN),
        over(lambda part: None if part.accuracy is None else part.accuracy.test),
        over(lambda part: part.label_agreement),
        over(lambda part: _useful(part, lambda utility: utility.calibration_error)),
        over(lambda part: _useful(part, lambda utility: utility.negative_log_likelihood)),
        over(lambda part: part.reconstructions_per_query),
    ]


def _greatest(part: UnderProtocol, counts: Callable[[str], bool]) -> float | None:
    return max((row.auc for name, row in part.attacks.items() if counts(name)), default=None)


def _auc(name: str, part: UnderProtocol) -> float | None:
    return part.attacks[name].auc if name in part.attacks else None


def _useful(part: UnderProtocol, get: Callable[[Utility], Estimate]) -> float | None:
    return None if part.utility is None else get(part.utility).value
