"""All audits by shadow models that there are, in one table: what each defence leaves, on average and of canaries."""

from collections.abc import Callable, Sequence
from pathlib import Path

from common.evaluation.shadow_record import OfAllModels, ShadowReport, ShadowRow
from common.reports import tables
from common.reports.shadows import NOTHING
from common.runtime import config, storage
from common.runtime.errors import UserError
from common.runtime.modes import TableStyle
from common.runtime.paths import DatasetFolder

READING = (
    "By the attack that the fitting role chose behind each fence; three figures are alone, with the paper's fence, "
    "with the steady fence. TPR: at 0.1 % FPR, with the scores of all models together, each being the target in its "
    "turn. Canaries: by the strongest attack on them, so a little too great by chance. Epsilon: a lower bound from the "
    "target alone, with 95 % confidence if the samples of one model were independent; one run: one that needs no such "
    "thing, from the target's canaries."
)
HEADER = [
    "defence",
    "shadow models",
    "canaries",
    "test accuracy",
    "AUC",
    "TPR",
    "canaries' AUC",
    "canaries' TPR",
    "epsilon",
    "one run",
    "accounted epsilon",
]


def summarise(root: Path, datasets: Sequence[str], *, order: Sequence[str], style: TableStyle) -> str:
    """Every dataset's table, defences in the given order. Raises UserError where there is none, or one is damaged."""
    parts = []
    for name in datasets:
        found = read(DatasetFolder(root / name), order=order)
        if found:
            title = tables.title(f"{name}, by shadow models", style=style)
            table = tables.STYLES[style](HEADER, [row(each) for each in found.values()])
            parts += [title, tables.prose(READING, style=style), table]
    if not parts:
        raise UserError(
            f"no audits by shadow models of {', '.join(datasets)} yet: in {datasets[0]}/ `python train_shadows.py "
            "--defense undefended`, then in evaluate_MIAs/ `bash evaluate_mia.sh --defense undefended --shadows`"
        )
    return "\n\n".join(parts)


def read(folder: DatasetFolder, *, order: Sequence[str]) -> dict[Path, ShadowReport]:
    """A dataset's audits by their folder, defences in the given order. Raises UserError where one is damaged."""
    found = {path.parent: _read(path) for path in folder.shadow_reports()}
    return dict(sorted(found.items(), key=lambda item: (item[1].model, order.index(item[1].defense), item[1].canaries)))


def _read(path: Path) -> ShadowReport:
    try:
        return config.parse(storage.read_json(path), ShadowReport, source=str(path))
    except UserError:
        raise
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not readable JSON ({error}): move its folder away, or audit again") from error


def row(report: ShadowReport) -> list[str]:
    chosen = [part.attacks[part.chosen] for part in report.fences.values()]
    runs = [part.one_run for part in report.fences.values()]

    def of_canaries(get: Callable[[OfAllModels], float], show: Callable[[OfAllModels], str]) -> str:
        found = [[row.canaries for row in part.attacks.values() if row.canaries] for part in report.fences.values()]
        return _three([show(max(rows, key=get)) if rows else NOTHING for rows in found])

    def each(show: Callable[[ShadowRow], str]) -> str:
        return _three([show(row) for row in chosen])

    return [
        _named(report),
        str(report.shadows),
        str(report.canaries or NOTHING),
        f"{report.mean_test_accuracy:.3f}",
        each(lambda row: f"{row.models.auc:.3f}"),
        each(lambda row: _percent(row.models)),
        of_canaries(lambda row: row.auc, lambda row: f"{row.auc:.3f}"),
        of_canaries(lambda row: row.tpr_at_fpr["0.001"].value, _percent),
        each(lambda row: f"{row.epsilon.lower_bound:.2f}"),
        _three([NOTHING if run is None else f"{run.lower_bound:.2f}" for run in runs]),
        NOTHING if report.accounted is None else f"{report.accounted.epsilon:.2f}",
    ]


def _named(report: ShadowReport) -> str:
    beside = [report.model] if report.model != "resnet" else []
    beside += ["own diffusion models"] if report.diffusion == "own" else []
    return f"{report.defense} ({', '.join(beside)})" if beside else report.defense


def _three(cells: Sequence[str]) -> str:
    return NOTHING if set(cells) == {NOTHING} else " / ".join(cells)


def _percent(row: OfAllModels) -> str:
    rate = row.tpr_at_fpr["0.001"]
    return f"{100 * rate.value:.1f} %{'' if rate.mistakes >= 1 else '*'}"
