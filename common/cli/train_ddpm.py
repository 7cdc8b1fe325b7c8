"""python train_ddpm.py"""

import argparse
from pathlib import Path
from typing import get_args

from common.cli import flags
from common.cli.run import Work, head, run
from common.runtime import modes


def main(folder: Path, argv: list[str] | None = None) -> int:
    parser = flags.parser("train_ddpm.py", "Train the diffusion model; goes on if interrupted.")
    flags.add_machine(parser)
    flags.add_settings(parser, "data, diffence, ddpm")
    flags.add_speed(parser, "the network")
    parser.add_argument(
        "--on",
        choices=get_args(modes.TrainedOn),
        help="the classifier's members, as the paper does, other samples that it has not seen, or both; "
        "default: configs/ddpm.yaml",
    )
    parser.add_argument(
        "--only-step",
        action="store_true",
        help="learn only what the fence asks for, the step T of configs/diffence.yaml: a fifth of the training is "
        "enough for it (lower ddpm.training.total_steps), but no images can be made from noise, and no other T served",
    )
    flags.add_tensorboard(parser)
    flags.add_dry_run(parser)
    return run(parser, argv, lambda options: _prepare(folder, options))


def _prepare(folder: Path, options: argparse.Namespace) -> Work:
    from common.experiment import train_ddpm
    from common.training.watching import require_tensorboard

    if options.tensorboard:
        require_tensorboard()
    settings = {"ddpm.training.trained_on": options.on}
    experiment = flags.experiment(folder, options, network="diffusion", settings=settings)
    if options.only_step:
        step = experiment.fence_config.step
        settings["ddpm.training.only_steps"] = [step, step + 1]  # the published noising asks for the one after it
        experiment = flags.experiment(folder, options, network="diffusion", settings=settings)
    return Work(
        head=lambda: head(experiment, train_ddpm.READS, prog="train_ddpm.py"),
        plan=lambda: train_ddpm.plan(experiment),
        do=lambda: train_ddpm.train(experiment, tensorboard=options.tensorboard),
    )
