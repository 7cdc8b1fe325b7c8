"""python export_published.py --defense undefended"""

import argparse
from pathlib import Path

from common.cli import flags
from common.cli.run import Work, head, run


def main(folder: Path, argv: list[str] | None = None) -> int:
    parser = flags.parser(
        "export_published.py",
        "Write a classifier, the diffusion model and the permutation as the published code reads them.",
    )
    flags.add_machine(parser)
    flags.add_settings(parser, "data, classifier")
    flags.add_defense(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: exported/ in the dataset folder")
    return run(parser, argv, lambda options: _prepare(folder, options))


def _prepare(folder: Path, options: argparse.Namespace) -> Work:
    from common.experiment import export_published

    experiment, subject = flags.experiment(folder, options, network="classifier"), flags.subject(options)
    return Work(
        head=lambda: head(experiment, export_published.READS, prog="export_published.py"),
        plan=lambda: export_published.plan(experiment, subject, options.out),
        do=lambda: export_published.export(experiment, subject, options.out),
    )
