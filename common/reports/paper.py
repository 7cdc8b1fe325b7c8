"""The paper's own numbers, read from common/paper_results.yaml."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import Field

from common.evaluation.record import Share
from common.runtime import config
from common.runtime.config import PositiveFloat, Strict
from common.runtime.errors import UserError

PAPER_DATASETS = ("cifar10", "cifar100", "svhn")


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


def read(path: Path, *, defenses: Collection[str]) -> Paper:
    """Raises UserError naming the file and its mistakes, rows of other than the known defences among them."""
    paper = config.load(path, Paper)
    found = set(paper.headline).union(*paper.tables.values())
    unknown = (set(paper.tables) - set(PAPER_DATASETS)) | (found - set(defenses))
    if unknown:
        raise UserError(f"{path}: neither a dataset of the paper nor a defence: {', '.join(sorted(unknown))}")
    return paper
