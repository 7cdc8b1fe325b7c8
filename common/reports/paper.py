"""The paper's own numbers, read from common/paper_results.yaml."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import Field

from common.runtime import config
from common.runtime.config import PositiveFloat, Strict
from common.runtime.errors import UserError

PAPER_DATASETS = ("cifar10", "cifar100", "svhn")

Percent = Annotated[float, Field(gt=0, le=100)]
Both = Annotated[list[Percent], Field(min_length=2, max_length=2)]
"""AUC and accuracy of the best attack; or the value without Diffence and with it."""
Points = Annotated[float, Field(ge=-100, le=100)]
ByDataset = dict[str, PositiveFloat]


class Reduced(Strict):
    """By how many per cent of its value something falls."""

    auc: Percent
    accuracy: Percent


class Table3Row(Strict):
    test_accuracy: Points
    without: Both
    scenarios: Annotated[list[Both], Field(min_length=3, max_length=3)]


class Table4Row(Strict):
    train: Percent
    test: Percent
    auc: Both
    accuracy: Both


class Table6Row(Strict):
    gap: Percent
    boundary: Both


class Table7Row(Strict):
    test_accuracy: Both
    accuracy: Both
    auc: Both


class Figure6(Strict):
    undefended: PositiveFloat
    scenarios: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)]
    hamp_is_higher: PositiveFloat


class Figure7(Strict):
    tpr_undefended: Percent
    tpr_six_defences: Percent
    tnr_undefended: Percent


class Paper(Strict):
    """common/paper_results.yaml, which says what is what; rows are by defence."""

    headline: dict[str, Reduced]
    milliseconds_per_sample: PositiveFloat
    table3: dict[str, Table3Row]
    table4: dict[str, dict[str, Table4Row]]
    table5: dict[str, ByDataset]
    table6: dict[str, Table6Row]
    table7: dict[str, Table7Row]
    table8: dict[str, ByDataset]
    figure6: Figure6
    figure7: Figure7
    figure8: dict[str, Reduced]
    figure12: dict[str, Reduced]
    figure13: Reduced


def read(path: Path, *, defenses: Collection[str]) -> Paper:
    """Raises UserError naming the file and its mistakes, rows of other than the known defences among them."""
    paper = config.load(path, Paper)
    tables: list[Collection[str]] = [paper.headline, paper.table3, paper.table4, *paper.table4.values()]
    tables += [paper.table6, paper.table7, paper.table8, set(paper.table5) - {"diffence"}]
    found = {name for table in tables for name in table}
    by_dataset = {name for row in (*paper.table5.values(), *paper.table8.values()) for name in row}
    unknown = (by_dataset - set(PAPER_DATASETS)) | (found - set(defenses))
    if unknown:
        raise UserError(f"{path}: neither a dataset of the paper nor a defence: {', '.join(sorted(unknown))}")
    return paper
