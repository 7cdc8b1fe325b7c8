"""The result folders of an evaluation: report.json, report.txt and pictures, whole or not at all."""

from pathlib import Path

from common.evaluation.audit import Audit
from common.evaluation.record import Report
from common.evaluation.run import Evaluation
from common.reports import pictures, text, verdict
from common.runtime import storage
from common.runtime.paths import DatasetFolder


def write(folder: DatasetFolder, evaluation: Evaluation, without: Report, fenced: Report) -> str:
    """Write both result folders of a classifier, alone and behind Diffence, and return the table."""
    said = verdict.sentence(without, fenced)
    without, fenced = (report.model_copy(update={"verdict": said}) for report in (without, fenced))
    shown = text.table(without, fenced)
    title = f"{fenced.dataset}, {fenced.subject}"
    figures = {
        "roc.png": pictures.roc(evaluation, title=title),
        "phi.png": pictures.phis(evaluation, title=title),
        "reliability.png": pictures.reliability(without, fenced, title=title),
    }
    copies = pictures.near_copies(evaluation, title=title)
    if copies is not None:
        figures["copies.png"] = copies
    reports = together(without, fenced)
    targets = [folder.results(each.subject, diffence=each.diffence) for each in reports]
    with storage.staged_folders(*targets, last="report.json") as stages:
        for report, stage in zip(reports, stages, strict=True):
            storage.write_json(stage / "report.json", report.model_dump(mode="json", by_alias=True))
            storage.write_text(stage / "report.txt", shown)
            for name, figure in figures.items():
                pictures.save(figure, stage / name)
    if copies is None:
        for target in targets:
            (target / "copies.png").unlink(missing_ok=True)  # of an evaluation before
    return shown


def write_audit(folder: Path, audit: Audit) -> str:
    """Write the report of an audit, and return the table."""
    report = audit.report.model_copy(update={"verdict": verdict.sentence(audit.report)})
    shown = text.table_of_audit(report)
    with storage.staged_folders(folder, last="report.json") as (stage,):
        storage.write_json(stage / "report.json", report.model_dump(mode="json", by_alias=True))
        storage.write_text(stage / "report.txt", shown)
    return shown


def together(*reports: Report) -> list[Report]:
    """The reports of one evaluation, each with the same name for it, so that readers know that they belong together."""
    name = storage.digest(
        [report.model_dump(mode="json", exclude={"seconds", "milliseconds_per_query"}) for report in reports]
    )
    return [report.model_copy(update={"evaluation": name}) for report in reports]
