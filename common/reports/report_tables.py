"""What a report has to say as tables, for the page and for LaTeX; from the records alone."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from common.evaluation.record import AttackRow, Report, UnderProtocol
from common.reports import cells
from common.reports.cells import NOTHING
from common.reports.tables import Table

Parts = Mapping[str, UnderProtocol]
"""By side, the classifier without a fence first: see sides.parts."""
FEW = 5  # attacks that are the strongest


def tables(without: Report, fenced: Report | None, parts: Parts) -> Iterator[Table]:
    """All that are of results, in the order of the page."""
    yield glance(parts)
    yield attacks(parts)
    yield few_mistakes(parts)
    yield service(parts)
    if "published" in without.protocols and without.main != "published":
        yield published(without, fenced)
    yield from not_run(parts)


def glance(parts: Parts) -> Table:
    """In numbers of a hundred, for readers who know no AUC."""
    header = ["", "right of 100 tries [95 %]", "strongest attack", "queries an image"]
    header += ["training images found at 1 % false alarms", "accuracy on new images"]
    header += ["reconstructions a query"] if len(parts) > 1 else []
    rows = []
    for name, part in parts.items():
        row, ends = strongest(part), part.best.auc_ci
        certain = "" if ends is None else f" [{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]"
        rows.append(
            [
                name,
                f"{100 * part.best.auc:.0f}{certain}",
                part.best.attack or NOTHING,
                NOTHING if row is None or row.queries is None else str(row.queries),
                NOTHING if row is None else _found(row),
                NOTHING if part.accuracy is None else f"{100 * part.accuracy.test:.1f} %",
            ]
        )
        if len(parts) > 1:
            rows[-1].append(_number("reconstructions_per_query", 2)(part))
    return Table("What the strongest attacker gets, and what honest users pay.", header, rows)


def strongest(part: UnderProtocol) -> AttackRow | None:
    return part.attacks.get(part.best.attack or "")


def _found(row: AttackRow) -> str:
    rate = row.tpr_at_fpr.get("0.01")
    point = row.tpr_points.get("0.01")
    return NOTHING if rate is None else f"{100 * rate:.1f} %{'' if point is None or point.resolved else '*'}"


def attacks(parts: Parts, *, most: int | None = None) -> Table:
    """AUC of every attack by side, those first that are the strongest on any; at most so many."""

    def greatest(name: str) -> float:
        return max(part.attacks[name].auc for part in parts.values() if name in part.attacks)

    names = sorted(dict.fromkeys(name for part in parts.values() for name in part.attacks), key=greatest, reverse=True)
    caption = "AUC of each attack with its 95 % interval, and how many queries an image it asks; 0.5 is guessing."
    if len(parts) > 1:
        caption += " Difference: with the last fence less without, on shared resamples."
    last = list(parts.values())[-1]
    rows = []
    for name in names[:most]:
        found = [part.attacks.get(name) for part in parts.values()]
        asked = next((row.queries for row in found if row and row.queries is not None), None)
        cells_of = [NOTHING if row is None else cells.auc(row) for row in found]
        row = last.attacks.get(name)
        less = [cells.difference(None if row is None else row.difference)] if len(parts) > 1 else []
        rows.append([name, NOTHING if asked is None else str(asked), *cells_of, *less])
    if most is not None and most < len(names):
        caption = f"The strongest {most} of {len(names)}. {caption}"
    return Table(caption, ["attack", "queries", *parts, *(["difference"] if len(parts) > 1 else [])], rows)


def few_mistakes(parts: Parts) -> Table:
    """TPR at low FPR with its counts, and how many of those named are members, of each side's strongest attack."""
    found = [strongest(part) for part in parts.values()]
    rows = [["strongest attack", *(part.best.attack or NOTHING for part in parts.values())]]
    for fpr in ("0.01", "0.001"):
        points = [cells.point(row.tpr_points.get(fpr) if row else None) for row in found]
        rows.append([f"TPR at {100 * float(fpr):g} % FPR", *points])
    for prior in ("0.01", "0.1", "0.5"):
        named = [cells.estimate(row.ppv.get(prior) if row else None) for row in found]
        rows.append([f"PPV at a prior of {100 * float(prior):g} %", *named])
    caption = (
        "The strongest attack where it may make few mistakes. TPR: members that it finds, with how many of how many at "
        "how many false alarms; * fewer non-members than such a rate needs, so it is at no false alarm. PPV: the share "
        "of members among those that it names, where so many of all who are asked about are members."
    )
    return Table(caption, ["", *parts], [row for row in rows if set(row[1:]) != {NOTHING}])


def service(parts: Parts) -> Table:
    """What the answers are worth to honest users."""

    def useful(name: str) -> Callable[[UnderProtocol], str]:
        return lambda part: cells.estimate(None if part.utility is None else getattr(part.utility, name))

    def accuracy(part: UnderProtocol) -> str:
        return NOTHING if part.accuracy is None else f"{part.accuracy.train:.4f} / {part.accuracy.test:.4f}"

    shown: dict[str, Callable[[UnderProtocol], str]] = {
        "accuracy, training / new images": accuracy,
        "calibration error": useful("calibration_error"),
        "negative log-likelihood": useful("negative_log_likelihood"),
        "Brier score": useful("brier_score"),
    }
    if len(parts) > 1:
        shown |= {
            "same label as without a fence": _number("label_agreement", 4),
            "answered by raw logits": _number("raw_answer_rate", 4),
            "reconstructions a query": _number("reconstructions_per_query", 2),
        }
    rows = [[title, *(cell(part) for part in parts.values())] for title, cell in shown.items()]
    return Table("What the answers are worth to honest users, with 95 % intervals.", ["", *parts], rows)


def _number(name: str, digits: int) -> Callable[[UnderProtocol], str]:
    def cell(part: UnderProtocol) -> str:
        value = getattr(part, name)
        return NOTHING if value is None else f"{value:.{digits}f}"

    return cell


def published(without: Report, fenced: Report | None) -> Table:
    """As the paper's code judges."""
    sides = [without.protocols["published"], *([] if fenced is None else [fenced.protocols["published"]])]
    rows = []
    for name in dict.fromkeys(name for part in sides for name in part.attacks):
        found = [part.attacks.get(name) for part in sides]
        rows.append([name, *(cell for row in found for cell in _as_published(row))])
    rows.append(["best", *(cell for part in sides for cell in (*_best(part), NOTHING))])
    measures = ("AUC", "accuracy", "TPR at 0.1 % FPR")
    header = ["attack", *(f"{measure}, {side}" for side in ("without", "with")[: len(sides)] for measure in measures)]
    return Table("What the paper's code computes, for comparison only.", header, rows)


def _as_published(row: AttackRow | None) -> tuple[str, str, str]:
    if row is None:
        return (NOTHING,) * 3
    accuracy = NOTHING if row.balanced_accuracy is None else f"{row.balanced_accuracy:.3f}"
    return f"{row.auc:.3f}", accuracy, f"{row.tpr_at_fpr['0.001']:.3f}" if "0.001" in row.tpr_at_fpr else NOTHING


def _best(part: UnderProtocol) -> tuple[str, str]:
    return f"{part.best.auc:.3f}", f"{part.best.balanced_accuracy:.3f}"


def not_run(parts: Parts) -> Iterator[Table]:
    """The attacks that did not run, with the reason, where there are any."""
    reasons = {name: reason for part in parts.values() for name, reason in part.not_run.items()}
    if reasons:
        yield Table("Attacks that did not run.", ["attack", "why"], [list(each) for each in reasons.items()])


def settings(report: Report) -> Table:
    """Every value of the configuration by its dotted path, as --set takes it."""
    caption = "Every setting by the name that --set takes."
    return Table(caption, ["setting", "value"], [[name, str(value)] for name, value in _flat(report.config)])


def _flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def counts(report: Report) -> Table:
    rows = [[role, str(count.members), str(count.non_members)] for role, count in report.counts.items()]
    return Table("How many images play which part; no image plays two.", ["role", "members", "non-members"], rows)


def provenance(report: Report) -> Table:
    """What it was made from, and with; not how long it took, so that the same evaluation gives the same page."""
    rows = [["seed", str(report.seed)]] if report.seed is not None else []
    rows += [["evaluation", report.evaluation]] if report.evaluation else []
    if report.permutation is not None:
        rows.append(["order that decides who is a member", report.permutation.source])
    rows += [[f"version of {name}", version] for name, version in report.versions.items()]
    rows += [[f"SHA-256 of {name}", sha256] for name, sha256 in report.inputs.items()]
    return Table("What these numbers were made from, and with.", ["what", "value"], rows)
