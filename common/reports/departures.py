"""The table of what the published code's departures are worth."""

from common.evaluation.departures import EPOCH, START, Departures, changes, learning_attacks, of_attack
from common.evaluation.judge import Verdict
from common.reports import tables
from common.runtime.modes import TableStyle

HEADER = ("departure", "AUC without", "accuracy without", "AUC with Diffence", "accuracy with Diffence")


def table(measured: Departures, *, style: TableStyle = "text") -> str:
    """The start's values, and for every departure how much is added to them, with 95 % intervals.

    The intervals are of resamples that start and departure share, as far as they are judged on the same samples.
    """
    start = measured.start
    rows = [("none: held out, ddpm", *_cells(start.without), *_cells(start.fenced))]
    for name, pair in measured.departed.items():
        rows.append((name, *_changes(start.without, pair.without), *_changes(start.fenced, pair.fenced)))
        for attack in learning_attacks(pair) if name == EPOCH else ():  # which the best of all need not show
            verdicts = (start.without, pair.without, start.fenced, pair.fenced)
            own = [of_attack(verdict, attack) for verdict in verdicts]
            rows.append((f"… in {attack} itself", *_changes(*own[:2]), *_changes(*own[2:])))
    title = (
        f"{measured.dataset}, {measured.settings.subject}: what each departure of the published code is worth, "
        f"best of {len(START.attacks)} attacks"
    )
    return "\n\n".join([title, tables.STYLES[style](HEADER, rows), *_of_training(measured)]) + "\n"


def _of_training(measured: Departures) -> list[str]:
    """What is departed from before there is a model, and so cannot be switched on its candidates."""
    reference = measured.model.get("reference")
    if reference is None:
        return []
    taken = "the whole reference set, validation part included" if reference == "whole" else "the rest of it"
    return [
        "In training, so not measured here: the published inference net learns from the whole reference set, ours not "
        f"from the validation part; this model's learnt from {taken} (--published trains it as published)."
    ]


def _cells(verdict: Verdict) -> tuple[str, str]:
    return f"{verdict.best.auc:.3f}", f"{verdict.best.balanced_accuracy:.3f}"


def _changes(start: Verdict, departed: Verdict) -> tuple[str, str]:
    auc, accuracy = changes(start, departed)
    return str(auc), str(accuracy)
