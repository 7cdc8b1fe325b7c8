"""python train_defense.py --defense undefended"""

import argparse
from pathlib import Path

from common.cli import flags
from common.cli.run import Work, head, run


def main(folder: Path, argv: list[str] | None = None) -> int:
    parser = flags.parser("train_defense.py", "Train a classifier with a defence; goes on if interrupted.")
    flags.add_machine(parser)
    flags.add_settings(parser, "data, classifier, the defence's own")
    flags.add_defense(parser)
    flags.add_speed(parser, "the classifier")
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--published", action="store_true", help="use the published code's settings, configs/published/"
    )
    either.add_argument(
        "--from",
        type=Path,
        dest="brought",
        metavar="PATH",
        help="train nothing: take the weights (a state dict) of a classifier trained elsewhere, on the members "
        "of this folder's partition, which is your word",
    )
    flags.add_original(either)
    flags.add_tensorboard(parser)
    flags.add_dry_run(parser)
    return run(parser, argv, lambda options: _prepare(folder, options))


def _prepare(folder: Path, options: argparse.Namespace) -> Work:
    from common.experiment import brought, train_defense
    from common.training.watching import require_tensorboard

    if options.tensorboard:
        require_tensorboard()
    experiment, subject = flags.experiment(folder, options, network="classifier"), flags.subject(options)
    if options.brought:
        return Work(
            head=lambda: head(experiment, brought.READS, prog="train_defense.py"),
            plan=lambda: brought.plan(experiment, subject, options.brought),
            do=lambda: brought.register(experiment, subject, options.brought),
        )
    given = {"published": options.published}
    return Work(
        head=lambda: head(experiment, train_defense.reads(subject, **given), prog="train_defense.py"),
        plan=lambda: train_defense.plan(experiment, subject, **given),
        do=lambda: train_defense.train(experiment, subject, **given, tensorboard=options.tensorboard),
    )
