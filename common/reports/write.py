"""The result folders of an evaluation: report.json, the page, text and pictures, whole or not at all."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.evaluation.audit import Audit
from common.evaluation.record import Report
from common.evaluation.run import Evaluation
from common.reports import (
    page,
    pictures,
    report_page,
    report_tables,
    results,
    runs,
    scores,
    sides,
    tables,
    text,
    verdict,
)
from common.reports.results import Beside, Results
from common.runtime import config, ownership, storage
from common.runtime.errors import UserError
from common.runtime.paths import PAGE, DatasetFolder

NOT_ALWAYS = ("copies.png", "report.tex", "scores.csv")  # files that only some evaluations leave
OF_AUDIT = ("report.json", "report.txt", PAGE, "roc.png", "phi.png", "reliability.png", *NOT_ALWAYS)


def write(
    folder: DatasetFolder,
    evaluation: Evaluation,
    without: Report,
    fenced: Report,
    *,
    beside: Beside | None = None,
    latex: bool = False,
    csv: bool = False,
    name: str | None = None,
) -> str:
    """Write both result folders of a classifier, alone and behind Diffence, and return the table.

    What another evaluation left there is kept in runs/ below (see runs.py).

    name:   of a folder in runs/ to write to, instead of the place of the latest evaluation
    latex:  the tables for LaTeX too
    csv:    the scores of every sample of the final test too
    """
    said = verdict.sentence(without, fenced)
    reports = together(*(report.model_copy(update={"verdict": said}) for report in (without, fenced)))
    without, fenced = reports
    title = f"{fenced.dataset}, {fenced.subject}"
    shown = results.of(title, without, fenced, sides.verdicts(evaluation), beside)
    table = text.table(without, fenced)
    targets = [folder.results(each.subject, diffence=each.diffence) for each in reports]
    html = page.render(report_page.of(shown))
    if name is None:
        for target, report in zip(targets, reports, strict=True):
            runs.keep(target, report)
    else:
        targets, html = [runs.named(target, name) for target in targets], runs.from_runs(html)
    _write(targets, reports, shown, {"report.txt": table, PAGE: html}, latex=latex, csv=csv)
    return table


def require_free(folder: Path, *, replace: bool) -> None:
    """Raise UserError where an audit's report in a folder would take the place of what is there.

    replace:  the report of an audit before may be written over, and nothing else
    """
    if _has_audit(folder):
        if not replace:
            raise UserError(f"{folder} has a report of an audit before: give another --out, or --replace")
        return
    there = [name for name in OF_AUDIT if os.path.lexists(folder / name)]
    if there:
        raise UserError(
            f"{folder / there[0]} would be written over or removed, and {folder} has no report of an audit before: "
            "give another --out, or move it away"
        )


def _has_audit(folder: Path) -> bool:
    try:
        report = config.parse(storage.read_json(folder / "report.json"), Report, source=str(folder))
    except (OSError, ValueError):
        return False
    return report.outputs is not None


def write_audit(folder: Path, audit: Audit, *, replace: bool = False, latex: bool = False, csv: bool = False) -> str:
    """Write the report of an audit, the page and pictures, and return the table. Raises as ``require_free``."""
    report = audit.report.model_copy(update={"verdict": verdict.sentence(audit.report)})
    shown = results.of(report.dataset, report, None, {sides.ALONE: audit.verdict}, Beside(audit.samples, audit.indices))
    table = text.table_of_audit(report)
    html = page.render(report_page.of(shown))
    with ownership.owned(folder, given=True):
        require_free(folder, replace=replace)  # it may have come while the audit went on
        _write([folder], [report], shown, {"report.txt": table, PAGE: html}, latex=latex, csv=csv)
    return table


def _write(
    targets: Sequence[Path],
    reports: Sequence[Report],
    shown: Results,
    texts: Mapping[str, str],
    *,
    latex: bool,
    csv: bool,
) -> None:
    """A folder for each report, with all that shows the results in each; ``texts``: files by name."""
    files = dict(texts)
    if latex:
        files["report.tex"] = tables.floats(list(report_tables.tables(shown.without, shown.fenced, shown.parts)))
    if csv:
        files["scores.csv"] = scores.table(shown.sides, shown.beside)
    with storage.staged_folders(*targets, last="report.json") as stages:
        for report, stage in zip(reports, stages, strict=True):
            storage.write_json(stage / "report.json", report.model_dump(mode="json", by_alias=True))
            for name, content in files.items():
                storage.write_text(stage / name, content)
            for name, figure in shown.figures.items():
                pictures.save(figure, stage / f"{name}.png")
        written = {path.name for path in stages[0].iterdir()}
    for target in targets:
        for name in set(NOT_ALWAYS) - written:
            (target / name).unlink(missing_ok=True)  # of an evaluation before


def together(*reports: Report) -> list[Report]:
    """The reports of one evaluation, each with the same name for it, so that readers know that they belong together."""
    name = storage.digest(
        [
            report.model_dump(mode="json", exclude={"seconds", "milliseconds_per_query", "run", "made"})
            for report in reports
        ]
    )
    return [report.model_copy(update={"evaluation": name}) for report in reports]
