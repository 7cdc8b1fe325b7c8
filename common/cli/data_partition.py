"""python data_partition.py"""

import argparse
from pathlib import Path

from common.cli import flags
from common.cli.run import Work, head, run


def main(folder: Path, argv: list[str] | None = None) -> int:
    parser = flags.parser("data_partition.py", "Fetch the dataset and decide which sample plays which part.")
    flags.add_machine(parser)
    flags.add_settings(parser, "data, evaluation")
    parser.add_argument(
        "--permutation",
        type=Path,
        metavar="FILE",
        help="permutation of the training set (.npy, .npz, .pkl) instead of one from the seed; a published checkpoint "
        "needs the published one. Default: cifar_shuffle.pkl (or svhn_…) in the dataset folder, where there is one",
    )
    parser.add_argument(
        "--replace", action="store_true", help="replace the partition even if models here were trained on it"
    )
    return run(parser, argv, lambda options: _prepare(folder, options))


def _prepare(folder: Path, options: argparse.Namespace) -> Work:
    from common.experiment import data_partition

    experiment = flags.experiment(folder, options, network="classifier")
    return Work(
        head=lambda: head(experiment, data_partition.READS, prog="data_partition.py"),
        plan=lambda: data_partition.plan(experiment),
        do=lambda: data_partition.make(experiment, permutation=options.permutation, replace=options.replace),
    )
