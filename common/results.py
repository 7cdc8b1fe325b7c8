"""Results read back from disk, ours and the paper's: nothing that is damaged or belongs elsewhere is taken."""

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field

from common import config, storage
from common.config import NonNegativeFloat, PositiveFloat, Strict
from common.defenses import DEFENSES
from common.errors import UserError
from common.paths import DatasetFolder
from common.training import Job

PAPER_DATASETS = ("cifar10", "cifar100", "svhn")
SUFFIX = "_w_diffence"

Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Read(Strict):
    """A part of a report.json: keys may have been added since."""

    model_config = ConfigDict(extra="ignore")


class AttackRow(Read):
    auc: Share
    auc_ci: Annotated[list[Share], Field(min_length=2, max_length=2)]
    tpr_at_fpr: dict[str, Share]


class Best(Read):
    auc: Share
    auc_ci: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = None
    balanced_accuracy: Share


class Reduction(Read):
    relative: Finite
    standard_error: NonNegativeFloat


class Reductions(Read):
    auc: Reduction
    balanced_accuracy: Reduction


class UnderProtocol(Read):
    attacks: Annotated[dict[str, AttackRow], Field(min_length=1)]
    best: Best
    reduction: Reductions | None = None  # with Diffence only


class Accuracy(Read):
    train: Share
    test: Share


class Report(Read):
    """What is read of a report.json, schema 1."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    dataset: str
    defense: str
    model: str = "resnet"
    diffence: bool
    accuracy: Accuracy
    protocols: dict[str, UnderProtocol]
    config: Annotated[dict[str, dict[str, Any]], Field(default_factory=dict)]

    @property
    def noising(self) -> str:
        return str(self.config.get("diffence", {}).get("noising", "unknown"))


class HeadlineRow(Strict):
    accuracy: PositiveFloat  # per cent
    auc: PositiveFloat


WithoutAndWith = Annotated[list[Share | None], Field(min_length=2, max_length=2)]


class PaperRow(Strict):
    test_accuracy: Share | None
    auc: WithoutAndWith
    accuracy: WithoutAndWith


class Paper(Strict):
    """common/paper_results.yaml"""

    headline: dict[str, HeadlineRow]  # by what Diffence is put on top of
    milliseconds_per_sample: PositiveFloat
    tables: dict[str, dict[str, PaperRow]]  # by dataset and defence


class Key(NamedTuple):
    model: str
    defense: str
    fenced: bool


Reports = dict[Key, Report]


def read_reports(folder: DatasetFolder) -> Reports:
    """Every report of a dataset folder. Raises UserError naming each that is damaged or belongs elsewhere."""
    reports, refused = {}, []
    for path in folder.reports():
        try:
            report = config.parse(storage.read_json(path), Report, source=folder.shown(path))
            _require_home(report, path, folder)
        except UserError as error:
            refused.append(str(error))
        except (ValueError, OSError) as error:
            refused.append(f"{folder.shown(path)}: not readable JSON ({error})")
        else:
            reports[Key(report.model, report.defense, report.diffence)] = report
    if refused:
        listed = "\n".join(refused)
        raise UserError(f"{listed}\nMove such folders away, or evaluate again with evaluate_mia.sh")
    return reports


def _require_home(report: Report, path: Path, folder: DatasetFolder) -> None:
    """UserError where a report stands in another folder than an evaluation would have written it to."""
    name = report.defense + (SUFFIX if report.diffence else "")
    home = folder.results(model=report.model, defense=name)
    if report.dataset != folder.name or report.defense not in DEFENSES or home != path.parent:
        raise UserError(f"{folder.shown(path)}: is a report of {report.dataset}, {name} ({report.model})")


def read_paper(path: Path) -> Paper:
    """Raises UserError naming the file and its mistakes."""
    paper = config.load(path, Paper)
    defenses = set(paper.headline).union(*paper.tables.values())
    unknown = (set(paper.tables) - set(PAPER_DATASETS)) | (defenses - set(DEFENSES))
    if unknown:
        raise UserError(f"{path}: neither a dataset of the paper nor a defence: {', '.join(sorted(unknown))}")
    return paper


class _Seconds(Strict):
    seconds: NonNegativeFloat


def read_seconds(classifier: Path) -> float | None:
    """How long a checkpoint's training took, where that was written down."""
    path = Job(classifier, {}).seconds_path
    if not path.is_file():
        return None
    try:
        return config.parse(storage.read_json(path), _Seconds, source=str(path)).seconds
    except UserError:
        raise
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not readable JSON ({error}): move it away") from error
