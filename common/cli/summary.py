"""python -m common.summary"""

import argparse
from pathlib import Path

from common.cli import flags
from common.cli.run import Work, run
from common.defenses import DEFENSES
from common.runtime.modes import TableStyle
from common.runtime.paths import REPOSITORY, DatasetFolder, dataset_names


def main(argv: list[str] | None = None, *, root: Path = REPOSITORY) -> int:
    parser = flags.parser(
        "python -m common.summary",
        "All evaluations there are, and, where the paper's three datasets are among them, its averages.",
    )
    flags.add_machine(parser, idle=True)
    datasets = dataset_names()
    parser.add_argument("--dataset", action="append", choices=datasets, help="may be repeated; default: all")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--markdown", action="store_true", help="Markdown instead of plain text")
    shown.add_argument("--latex", action="store_true", help="tables for LaTeX instead of plain text")
    shown.add_argument(
        "--html",
        action="store_true",
        help="write a page over all defences of each dataset, DATASET/evaluate_MIAs/results/report.html, instead",
    )
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

    def write_pages() -> None:
        from common.reports import overview

        if options.seeds or options.shadows or options.into:
            raise UserError("--html writes one page of all there is: leave out --seeds, --shadows and --into")
        there = [folder for folder in map(DatasetFolder, (root / name for name in datasets)) if folder.reports()]
        named = [DatasetFolder(root / name) for name in options.dataset or ()]
        for folder in named or there or [DatasetFolder(root / datasets[0])]:
            print(folder.shown(overview.write(folder, defenses=list(DEFENSES))))

    def show() -> None:
        style: TableStyle = "latex" if options.latex else "markdown" if options.markdown or options.into else "text"
        chosen = options.dataset or datasets
        if options.into and not (options.seeds or options.shadows):
            raise UserError("--into goes with --seeds or --shadows")
        if options.into and options.latex:
            raise UserError("--into writes Markdown: leave out --latex")
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

    return Work(do=write_pages if options.html else show)
