"""A report as the table that a user reads, from the records alone: reports read back from disk give the same text."""

from common.evaluation.record import AttackRow, Best, Difference, Ends, Report, UnderProtocol

NOTHING = "-"  # a cell without a value
TITLES = {"held_out": "held-out protocol", "published": "published protocol"}
WARNING = (
    "What the paper's code computes, for comparison only: the interval is tuned on samples that are scored, and "
    "thresholds and the NN attack's epoch are picked on them too."
)


def table(without: Report, fenced: Report) -> str:
    """Attacks down, without and with Diffence across; a second protocol in a block below."""
    main = fenced.main
    pair = without.protocols[main], fenced.protocols[main]
    lines = [*_heading(without, fenced), "", *_attack_rows(*pair), "", *_service_rows(*pair), "", *_best_lines(*pair)]
    for name in fenced.protocols:
        if name != main:
            lines += ["", *_block(name, without.protocols[name], fenced.protocols[name])]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _heading(without: Report, fenced: Report) -> list[str]:
    main, fence = fenced.main, fenced.config["diffence"]
    counts = fenced.counts["final_test" if main == "held_out" else "target"]
    noising = "" if fenced.noising == "ddpm" else f", {fenced.noising} noising"
    return [
        f"{fenced.dataset}, {fenced.subject}, {TITLES[main]}: "
        f"{counts.members} members and {counts.non_members} non-members in the final test",
        f"Diffence: N = {fence['num_candidates']}, T = {fence['step']}{noising}, scenario {fence['scenario']}, "
        f"interval of phi {_interval(fenced.protocols[main].interval)}",
        *_privacy_lines(without),
        *fenced.notes,
        *([WARNING] if main == "published" else []),
    ]


def _attack_rows(without: UnderProtocol, fenced: UnderProtocol) -> list[str]:
    lines = [
        f"{'':<28}{'without Diffence':<42}{'with Diffence':<42}{'difference':<24}",
        f"{'attack':<28}" + f"{'AUC [95 %]':<23}{'bal.acc':>7}{'TPR@1%':>8}    " * 2 + "AUC [95 %, paired]",
    ]
    for name in dict.fromkeys([*without.attacks, *fenced.attacks]):
        rows = without.attacks.get(name), fenced.attacks.get(name)
        cells = "".join(f"{_cells(row):<38}    " for row in rows)
        lines.append(f"{name:<28}{cells}{_shown(rows[1].difference if rows[1] else None)}")
    return lines + _not_run_lines(without, fenced)


def _not_run_lines(without: UnderProtocol, fenced: UnderProtocol) -> list[str]:
    """Every attack that could not run, with the reason."""
    reasons = without.not_run | fenced.not_run
    return [f"{name:<28}not run: {reason}" for name, reason in reasons.items()]


def _service_rows(without: UnderProtocol, fenced: UnderProtocol) -> list[str]:
    """What the fence costs its users."""
    rows = {
        "accuracy, train / test": lambda part: f"{part.accuracy.train:.4f} / {part.accuracy.test:.4f}",
        "same label as raw": lambda part: f"{part.label_agreement:.4f}",
        "answered by raw logits": lambda part: f"{part.raw_answer_rate:.4f}",
        "reconstructions per query": lambda part: f"{part.reconstructions_per_query:.2f}",
    }
    return [f"{title:<28}" + "".join(f"{cell(part):<42}" for part in (without, fenced)) for title, cell in rows.items()]


def _best_lines(without: UnderProtocol, fenced: UnderProtocol) -> list[str]:
    return [
        f"Best attack: AUC {_auc(without.best)} ({without.best.attack}) without Diffence, "
        f"{_auc(fenced.best)} ({fenced.best.attack}) with; "
        f"difference {_shown(fenced.best.difference)}.",
        f"(A maximum over {len(without.attacks)} attacks on one test set is too great by chance: by about "
        f"{without.best.selection_bias:.3f} without, {fenced.best.selection_bias:.3f} with.)",
        *inverted_lines(without, fenced),
    ]


def inverted_lines(without: UnderProtocol, fenced: UnderProtocol) -> list[str]:
    """What an attacker gets who turns the sign of an attack that fails more surely than chance does."""
    lines = []
    for title, part in (("Without", without), ("With", fenced)):
        attack, row = min(part.attacks.items(), key=lambda item: item[1].auc)
        if row.auc_ci[1] < 0.5:
            lines.append(
                f"NOTE: {title} Diffence {attack} has AUC {_auc(row)}: members get the lower scores, and an attacker "
                f"who turns the sign has {1 - row.auc:.3f}, which is not counted as an attack here."
            )
    return lines


def _block(name: str, without: UnderProtocol, fenced: UnderProtocol) -> list[str]:
    """A protocol in brief: a row for each attack, and the best."""
    parts = (without, fenced)
    titles = "".join(f"{title:<28}" for title in ("without Diffence", "with Diffence"))
    lines = [
        f"{TITLES[name].capitalize()}, interval of phi {_interval(fenced.interval)}.",
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


def _interval(ends: Ends | None) -> str:
    return "[-inf, inf]" if ends is None else f"[{ends[0]:.3f}, {ends[1]:.3f}]"


def _cells(row: AttackRow | None) -> str:
    if row is None:
        return NOTHING
    return f"{_auc(row):<23}{row.balanced_accuracy:>7.3f}{row.tpr_at_fpr['0.01']:>8.3f}"


def _auc(row: AttackRow | Best) -> str:
    return f"{row.auc:.3f}" + (f" [{row.auc_ci[0]:.3f}, {row.auc_ci[1]:.3f}]" if row.auc_ci else "")


def _shown(difference: Difference | None) -> str:
    return NOTHING if difference is None else str(difference)
