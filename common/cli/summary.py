"""python -m common.summary"""

import argparse
from pathlib import Path

from common.cli import flags
from common.cli.run import Work, run
from common.defenses import DEFENSES
from common.runtime.modes import TableStyle
from common.runtime.paths import REPOSITORY, dataset_names


def main(argv: list[str] | None = None, *, root: Path = REPOSITORY) -> int:
    parser = flags.parser(
        "python -m common.summary",
        "All evaluations there are, and, where the paper's three datasets are among them, its averages.",
    )
    datasets = dataset_names()
    parser.add_argument("--dataset", action="append", choices=datasets, help="may be repeated; default: all")
    parser.add_argument("--markdown", action="store_true", help="Markdown instead of plain text")
    return run(parser, argv, lambda options: _prepare(root, options, datasets))


def _prepare(root: Path, options: argparse.Namespace, datasets: tuple[str, ...]) -> Work:
    from common.reports.summary import summarise
    from common.training.jobs import last_seconds

    def show() -> None:
        style: TableStyle = "markdown" if options.markdown else "text"
        chosen = options.dataset or datasets
        print(summarise(root, chosen, defenses=list(DEFENSES), seconds=last_seconds, style=style), end="")

    return Work(do=show)
