"""The result folders of an evaluation: report.json, the page, text and pictures, whole or not at all."""

from pathlib import Path

from common.evaluation.audit import Audit
from common.evaluation.record import Report
from common.evaluation.run import Evaluation
from common.reports import page, pictures, report_page, report_tables, results, scores, sides, tables, text, verdict
from common.reports.results import Beside
from common.runtime import storage
from common.runtime.paths import DatasetFolder

NOT_ALWAYS = ("copies.png", "report.tex", "scores.csv")  # files that only some evaluations leave


def write(
    folder: DatasetFolder,
    evaluation: Evaluation,
    without: Report,
    fenced: Report,
    *,
    beside: Beside | None = None,
    latex: bool = False,
    csv: bool = False,
) -> str:
    """Write both result folders of a classifier, alone and behind Diffence, and return the table.

    latex:  the tables for LaTeX too
    csv:    the scores of every sample of the final test too
    """
    said = verdict.sentence(without, fenced)
    reports = together(*(report.model_copy(update={"verdict": said}) for report in (without, fenced)))
    without, fenced = reports
    title = f"{fenced.dataset}, {fenced.subject}"
    shown = results.of(title, without, fenced, sides.verdicts(evaluation), beside)
    files = {"report.txt": text.table(without, fenced), "report.html": page.render(report_page.of(shown))}
    if latex:
        files["report.tex"] = tables.floats(list(report_tables.tables(without, fenced, shown.parts)))
    if csv:
        files["scores.csv"] = scores.table(shown.sides, shown.beside)
    targets = [folder.results(each.subject, diffence=each.diffence) for each in reports]
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
    return files["report.txt"]


def write_audit(folder: Path, audit: Audit) -> str:
    """Write the report of an audit, the page and pictures, and return the table."""
    report = audit.report.model_copy(update={"verdict": verdict.sentence(audit.report)})
    of_sides, parts = {sides.ALONE: audit.verdict}, sides.parts(report, None)
    figures = results.figures(of_sides, parts, title=report.dataset)
    shown, table = Results(report.dataset, report, None, of_sides, parts, figures), text.table_of_audit(report)
    with storage.staged_folders(folder, last="report.json") as (stage,):
        storage.write_json(stage / "report.json", report.model_dump(mode="json", by_alias=True))
        storage.write_text(stage / "report.txt", table)
        storage.write_text(stage / "report.html", page.render(report_page.of(shown)))
        for name, figure in figures.items():
            pictures.save(figure, stage / f"{name}.png")
    return table


def together(*reports: Report) -> list[Report]:
    """The reports of one evaluation, each with the same name for it, so that readers know that they belong together."""
    name = storage.digest(
        [report.model_dump(mode="json", exclude={"seconds", "milliseconds_per_query"}) for report in reports]
    )
    return [report.model_copy(update={"evaluation": name}) for report in reports]
