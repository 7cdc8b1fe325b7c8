"""python train_ddpm.py"""

import argparse
from pathlib import Path

from common.cli import flags
from common.cli.run import Work, head, run


def main(folder: Path, argv: list[str] | None = None) -> int:
    parser = flags.parser(
        "train_ddpm.py", "Train the diffusion model on the classifier's members; goes on if interrupted."
    )
    flags.add_machine(parser)
    flags.add_settings(parser, "data, diffence, ddpm")
    flags.add_speed(parser, "the network")
    flags.add_dry_run(parser)
    return run(parser, argv, lambda options: _prepare(folder, options))


def _prepare(folder: Path, options: argparse.Namespace) -> Work:
    from common.experiment import train_ddpm

    experiment = flags.experiment(folder, options, network="diffusion")
    return Work(
        head=lambda: head(experiment, train_ddpm.READS, prog="train_ddpm.py"),
        plan=lambda: train_ddpm.plan(experiment),
        do=lambda: train_ddpm.train(experiment),
    )
