"""The result folders of an evaluation: report.json, report.txt and pictures, whole or not at all."""

from common.evaluation.record import Report
from common.evaluation.run import Evaluation
from common.reports import pictures, text
from common.runtime import storage
from common.runtime.paths import DatasetFolder


def write(folder: DatasetFolder, evaluation: Evaluation, without: Report, fenced: Report) -> str:
    """Write both result folders of a classifier, alone and behind Diffence, and return the table."""
    shown = text.table(without, fenced)
    title = f"{fenced.dataset}, {fenced.subject}"
    figures = {
        "roc.png": pictures.roc(evaluation.main, title=title),
        "phi.png": pictures.phis(evaluation.main, title=title),
    }
    for report in (without, fenced):
        with storage.staged_folder(folder.results(report.subject, diffence=report.diffence)) as staging:
            storage.write_json(staging / "report.json", report.model_dump(mode="json", by_alias=True))
            storage.write_text(staging / "report.txt", shown)
            for name, figure in figures.items():
                pictures.save(figure, staging / name)
    return shown
