"""A report as the table that a user reads, from the records alone: reports read back from disk give the same text."""

import textwrap
from collections.abc import Callable, Sequence

from common.evaluation.record import AttackRow, Difference, Estimate, Report, UnderProtocol, Utility
from common.reports import cells, verdict
from common.reports.cells import NOTHING

WIDTH = 120
TITLES = {
    "held_out": "held-out protocol",
    "steady": "steady fence, held-out protocol",
    "published": "published protocol",
}
OF_A_FENCE = ("same label as raw", "answered by raw logits", "reconstructions per query")  # rows
WARNING = (
    "What the paper's code computes, for comparison only: the interval is tuned on samples that are scored, and "
    "thresholds and the NN attack's epoch are picked on them too."
)


def table(without: Report, fenced: Report) -> str:
    """The verdict, then attacks down, without and with Diffence across; further protocols in blocks below."""
    main = fenced.main
    lines = [*textwrap.wrap(verdict.sentence(without, fenced), WIDTH), "", *_heading(without, fenced)]
    lines += _sections(without.protocols[main], fenced.protocols[main])
    for name, part in fenced.protocols.items():
        if name == "published" != main:
            lines += ["", *_brief(name, without.protocols[name], part)]
        elif name != main:
            lines += ["", f"{TITLES[name].capitalize()}: {_fence(name, fenced)}."]
            lines += _sections(without.protocols[name], part)
    return _joined(lines)


def table_of_audit(report: Report) -> str:
    """The same of a classifier without a fence, by its answers alone."""
    lines = [
        *textwrap.wrap(verdict.sentence(report), WIDTH),
        "",
        f"{report.dataset}, audited by its answers ({report.outputs}): {_judged_by(report, 'final_test')}",
        *report.notes,
    ]
    return _joined([*lines, *_sections(report.protocols[report.main])])


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _sections(*parts: UnderProtocol) -> list[str]:
    """parts: without Diffence and, where there is a fence, with it"""
    blocks = [section(*parts) for section in (_attack_rows, _few_mistakes, _service_rows, _best_lines)]
    return [line for block in blocks if block for line in ("", *block)]


def _judged_by(report: Report, role: str) -> str:
    counts = report.counts[role]
    return f"{counts.members} members and {counts.non_members} non-members in the final test"


def _heading(without: Report, fenced: Report) -> list[str]:
    main, fence = fenced.main, fenced.config["diffence"]
    role = "target" if main == "published" else "final_test"
    noising = "" if fenced.noising == "ddpm" else f", {fenced.noising} noising"
    return [
        f"{fenced.dataset}, {fenced.subject}, {TITLES[main]}: {_judged_by(fenced, role)}",
        f"Diffence: N = {fence['num_candidates']}, T = {fence['step']}{noising}, scenario {fence['scenario']}, "
        f"{_fence(main, fenced)}",
        *_privacy_lines(without),
        *fenced.notes,
        *([WARNING] if main == "published" else []),
    ]


def _fence(protocol: str, fenced: Report) -> str:
    """How a protocol's fence answers."""
    interval = f"interval of phi {cells.interval(fenced.protocols[protocol].interval)}"
    if protocol != "steady":
        return interval
    measures = fenced.config["diffence"]["steady"]
    selection = interval if measures["selection"] == "interval" else f"{measures['selection']} answers"
    answers = "averaged answers" if measures["answer"] == "average" else selection
    noise = measures["noise"].replace("_", " ")
    return f"N = {measures['num_candidates']}, noise {noise}, {answers}, {measures['work']} work"


def _attack_rows(*parts: UnderProtocol) -> list[str]:
    compared = len(parts) > 1
    titles = "".join(f"{title:<42}" for title in ("without Diffence", "with Diffence")) + f"{'difference':<24}"
    lines = [
        *([f"{'':<36}{titles}"] if compared else []),
        f"{'attack':<28}{'queries':<8}"
        + f"{'AUC [95 %]':<23}{'bal.acc':>7}{'TPR@1%':>8}    " * len(parts)
        + "AUC [95 %, paired]" * compared,
    ]
    for name in dict.fromkeys(name for part in parts for name in part.attacks):
        rows = [part.attacks.get(name) for part in parts]
        shown = "".join(f"{_cells(row):<38}    " for row in rows)
        asked = next((row.queries for row in rows if row and row.queries is not None), None)
        difference = cells.difference(rows[-1].difference if rows[-1] else None) if compared else ""
        lines.append(f"{name:<28}{NOTHING if asked is None else asked:<8}{shown}{difference}")
    return lines + _not_run_lines(*parts)


def _not_run_lines(*parts: UnderProtocol) -> list[str]:
    """Every attack that could not run, with the reason."""
    reasons = {name: reason for part in parts for name, reason in part.not_run.items()}
    return [f"{name:<28}not run: {reason}" for name, reason in reasons.items()]


def _service_rows(*parts: UnderProtocol) -> list[str]:
    """What answers are worth to honest users, and what the fence costs them."""
    rows = {
        "accuracy, train / test": lambda part: f"{part.accuracy.train:.4f} / {part.accuracy.test:.4f}",
        "same label as raw": lambda part: f"{part.label_agreement:.4f}",
        "answered by raw logits": lambda part: f"{part.raw_answer_rate:.4f}",
        "calibration error": _useful(lambda utility: utility.calibration_error),
        "negative log-likelihood": _useful(lambda utility: utility.negative_log_likelihood),
        "Brier score": _useful(lambda utility: utility.brier_score),
        "reconstructions per query": lambda part: f"{part.reconstructions_per_query:.2f}",
    }
    told = [title for title in rows if len(parts) > 1 or title not in OF_A_FENCE]
    return [f"{title:<28}" + "".join(f"{rows[title](part):<42}" for part in parts) for title in told]


def _useful(get: Callable[[Utility], Estimate]) -> Callable[[UnderProtocol], str]:
    return lambda part: cells.estimate(None if part.utility is None else get(part.utility))


def _best_lines(*parts: UnderProtocol) -> list[str]:
    """The strongest attack, what choosing it in hindsight is worth, and what is got by choosing before."""
    best = [f"{cells.auc(part.best)} ({part.best.attack})" for part in parts]
    biases = [f"{part.best.selection_bias:.3f}" for part in parts]
    lines = [
        f"Best attack: AUC {_compared(best, parts[-1].best.difference)}.",
        f"(A maximum over {len(parts[0].attacks)} attacks on one test set is too great by chance: by about "
        f"{biases[0]}{f' without, {biases[1]} with' if len(biases) > 1 else ''}.)",
    ]
    chosen = [part.chosen for part in parts if part.chosen is not None]
    if len(chosen) == len(parts):
        shown = [f"{cells.auc(each)} ({each.attack})" for each in chosen]
        lines.append(f"Attack chosen on the fitting role: AUC {_compared(shown, chosen[-1].difference)}.")
    return lines


def _compared(shown: Sequence[str], difference: Difference | None) -> str:
    if len(shown) == 1:
        return shown[0]
    return f"{shown[0]} without Diffence, {shown[1]} with; difference {cells.difference(difference)}"


def _few_mistakes(*parts: UnderProtocol) -> list[str]:
    """TPR at low FPR with its counts, and how many of those named are members, of the strongest attacks."""
    lines = [f"{'strongest attack':<28}" + "".join(f"{part.best.attack or NOTHING:<42}" for part in parts)]
    rows = [part.attacks.get(part.best.attack or "") for part in parts]
    points = {fpr: [row.tpr_points.get(fpr) if row else None for row in rows] for fpr in ("0.01", "0.001")}
    for fpr, pair in points.items():
        if any(pair):
            title = f"TPR at {100 * float(fpr):g} % FPR"
            lines.append(f"{title:<28}" + "".join(f"{cells.point(point):<42}" for point in pair))
    for prior in ("0.01", "0.1", "0.5"):
        named = [row.ppv.get(prior) if row else None for row in rows]
        if any(named):
            title = f"PPV at a prior of {100 * float(prior):g} %"
            lines.append(f"{title:<28}" + "".join(f"{cells.estimate(each):<42}" for each in named))
    if any(point and not point.resolved for pair in points.values() for point in pair):
        lines.append("(* fewer non-members than such a rate needs: what is found at no false positive)")
    return lines if len(lines) > 1 else []


def _brief(name: str, without: UnderProtocol, fenced: UnderProtocol) -> list[str]:
    """A protocol in brief: a row for each attack, and the best."""
    parts = (without, fenced)
    titles = "".join(f"{title:<28}" for title in ("without Diffence", "with Diffence"))
    lines = [
        f"{TITLES[name].capitalize()}, interval of phi {cells.interval(fenced.interval)}.",
        WARNING,
        f"{'':<28}{titles}",
        f"{'attack':<28}" + f"{'AUC':>5}{'accuracy':>10}{'TPR@.1%':>9}    " * 2,
    ]
    for attack in dict.fromkeys([*without.attacks, *fenced.attacks]):
        lines.append(f"{attack:<28}" + "".join(_brief_cells(part.attacks.get(attack)) for part in parts))
    lines += _not_run_lines(without, fenced)
    lines.append(f"{'best':<28}" + "".join(f"{p.best.auc:.3f}{p.best.balanced_accuracy:>10.3f}{'':<13}" for p in parts))
    return lines


def _brief_cells(row: AttackRow | None) -> str:
    if row is None:
        return f"{NOTHING:<28}"
    return f"{row.auc:.3f}{row.balanced_accuracy:>10.3f}{row.tpr_at_fpr['0.001']:>9.3f}    "


def _privacy_lines(without: Report) -> list[str]:
    """What DP-SGD spent, where it trained the classifier."""
    if without.privacy is None:
        return []
    return [f"DP-SGD: epsilon {without.privacy.epsilon:.3g} at delta {without.privacy.delta:g}, without Diffence only"]


def _cells(row: AttackRow | None) -> str:
    if row is None:
        return NOTHING
    return f"{cells.auc(row):<23}{row.balanced_accuracy:>7.3f}{row.tpr_at_fpr['0.01']:>8.3f}"
