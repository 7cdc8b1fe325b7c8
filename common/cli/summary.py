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
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--seeds", action="store_true", help="the evaluations of `evaluate_mia.sh --seeds` instead")
    either.add_argument("--shadows", action="store_true", help="the audits of `evaluate_mia.sh --shadows` instead")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="with --seeds or --shadows: write it as Markdown between the marks of a document; default: print it",
    )
    return run(parser, argv, lambda options: _prepare(root, options, datasets))


def _prepare(root: Path, options: argparse.Namespace, datasets: tuple[str, ...]) -> Work:
    from common.reports import into, over_seeds, shadow_summary
    from common.reports.summary import summarise
    from common.runtime.errors import UserError
    from common.training.jobs import last_seconds

    def show() -> None:
        style: TableStyle = "markdown" if options.markdown or options.into else "text"
        chosen = options.dataset or datasets
        if options.into and not (options.seeds or options.shadows):
            raise UserError("--into goes with --seeds or --shadows")
        if options.seeds:
            table = over_seeds.summarise(root, chosen, defenses=list(DEFENSES), style=style)
        elif options.shadows:
            table = shadow_summary.summarise(root, chosen, order=list(DEFENSES), style=style)
        else:
            table = summarise(root, chosen, defenses=list(DEFENSES), seconds=last_seconds, style=style).rstrip("\n")
        if options.into:
            into.put(options.into, table, name="over seeds" if options.seeds else "by shadow models")
        else:
            print(table)

    return Work(do=show)
