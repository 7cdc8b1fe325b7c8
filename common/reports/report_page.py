"""The page of an evaluation, with fences or without any: the verdict first, numbers for engineers below."""

from common.attacks import SHADOW_ATTACKS
from common.reports import drawings, report_tables
from common.reports.page import Block, Grid, Page, Points, Section
from common.reports.report_tables import FEW
from common.reports.results import Results
from common.reports.tables import Table
from common.reports.text import TITLES, WARNING


def of(results: Results) -> Page:
    sections = {
        "What an attacker gets": _glance,
        "Strongest attacks": _strongest,
        "Few false alarms": drawings.roc,
        "Asking again": drawings.copies,
        "How sure the answers are": drawings.phi,
        "What honest users get": _service,
        "Most exposed images": drawings.exposed,
        "What the fence does to images": drawings.purified,
        "Training": drawings.training,
        "All attacks": _all_attacks,
        "The published protocol": _published,
        "Not tested, and why": _not_tested,
        "Settings": _settings,
        "Provenance": _provenance,
    }
    return Page(
        title=f"Membership inference: {results.title}",
        verdict=results.main.verdict or "",
        caveats=list(_caveats(results)),
        sections=[Section(title, list(blocks(results))) for title, blocks in sections.items()],
    )


def _caveats(results: Results) -> list[str]:
    report, parts = results.main, results.parts
    counts = report.counts.get("target" if report.main == "published" else "final_test")
    said = [] if counts is None else [f"Judged on {counts.members} training images and {counts.non_members} others."]
    biases = {name: part.best.selection_bias for name, part in parts.items() if part.best.selection_bias is not None}
    if biases:
        by = ", ".join(f"{100 * max(bias, 0):.1f} ({name})" for name, bias in biases.items())
        said.append(f"The strongest attack is known in hindsight, so it looks too strong: by about {by} of 100 tries.")
    said.append("One classifier, trained once: another draw of training images gives other numbers.")
    if report.main == "published":
        said.append(WARNING)
    if results.without.privacy is not None:
        spent = results.without.privacy
        said.append(
            f"Trained by DP-SGD: epsilon {spent.epsilon:.3g} at delta {spent.delta:g}, a guarantee that holds "
            "without a fence only."
        )
    return [*said, *(f"{note[:1].upper()}{note[1:]}." for note in report.notes)]


def _glance(results: Results) -> list[Block]:
    reading = [
        "Right of 100 tries: the attack is shown one training image and one other image, and picks. Guessing is right "
        "in 50, a classifier that gives all away loses 100.",
        "Training images found at 1 % false alarms: how many an attacker finds who wrongly accuses one other image in "
        "a hundred. Guessing finds 1 %.",
    ]
    if results.fenced is not None:
        reading.append("Reconstructions: passes through the diffusion model that the mean answer takes.")
    return [Grid(report_tables.glance(results.parts)), Points(reading)]


def _strongest(results: Results) -> list[Block]:
    return [
        Grid(report_tables.attacks(results.parts, most=FEW)),
        Grid(report_tables.few_mistakes(results.parts)),
    ]


def _service(results: Results) -> list[Block]:
    return [Grid(report_tables.service(results.parts)), *drawings.reliability(results)]


def _all_attacks(results: Results) -> list[Block]:
    return [Grid(report_tables.attacks(results.parts))]


def _published(results: Results) -> list[Block]:
    if "published" not in results.without.protocols or results.without.main == "published":
        return []
    return [WARNING, Grid(report_tables.published(results.without, results.fenced))]


def _not_tested(results: Results) -> list[Block]:
    entries = [
        "The most vulnerable images one by one: an average over images says nothing of the worst.",
        "Attackers who know more than answers: weights, gradients, the diffusion model itself.",
    ]
    if not any(part.attacks.keys() & SHADOW_ATTACKS.keys() for part in results.parts.values()):
        entries.insert(
            0, "Attackers who train shadow models: this needs models like this one, trained for the purpose."
        )
    links = results.beside.links
    found: list[Block] = [Points([*entries, *results.beside.missing])]
    found += [Grid(table) for table in report_tables.not_run(results.parts)]
    if links:
        rows = [[name] for name in links]
        found.append(Grid(Table("Tested elsewhere.", ["page"], rows), links))
    return found


def _settings(results: Results) -> list[Block]:
    report = results.main
    found: list[Block] = [f"Shown first: {TITLES[report.main]}."]
    found += [Grid(report_tables.counts(report))] if report.counts else []
    return [*found, *([Grid(report_tables.settings(report))] if report.config else [])]


def _provenance(results: Results) -> list[Block]:
    return [Grid(report_tables.provenance(results.main))]
