"""python train_shadows.py --defense undefended --count 64"""

import argparse
from pathlib import Path

from common.cli import flags
from common.cli.run import Work, head, run


def main(folder: Path, argv: list[str] | None = None) -> int:
    parser = flags.parser(
        "train_shadows.py",
        "Train shadow models of a defended classifier, on other halves of members and reference samples, and keep what "
        "they answer; goes on if interrupted, and more can be added later.",
    )
    flags.add_machine(parser)
    flags.add_settings(parser, "data, classifier, diffence, evaluation, the defence's own")
    flags.add_defense(parser)
    parser.add_argument("--count", type=_even, default=64, help="shadow models, in pairs; the target is one more")
    parser.add_argument(
        "--canaries",
        type=int,
        default=0,
        metavar="M",
        help="samples with a wrong label, each in with probability 1/2, in models of their own; the target too is then "
        "trained anew with them",
    )
    parser.add_argument("--keep-models", action="store_true", help="keep the models too, not only what they answer")
    flags.add_processes(parser)
    flags.add_dry_run(parser)
    return run(parser, argv, lambda options: _prepare(folder, options))


def _even(text: str) -> int:
    value = flags.positive(text)
    if value % 2:
        raise argparse.ArgumentTypeError(f"must be even, since shadow models come in pairs, not {value}")
    return value


def _prepare(folder: Path, options: argparse.Namespace) -> Work:
    from common.experiment import train_shadows
    from common.experiment.shadow_store import Store

    experiment = flags.experiment(folder, options, network="classifier")
    store = Store.of(experiment, flags.subject(options), canaries=options.canaries)
    return Work(
        head=lambda: head(experiment, store.reads, prog="train_shadows.py"),
        plan=lambda: train_shadows.plan(store, options.count),
        do=lambda: train_shadows.train(store, count=options.count, keep_models=options.keep_models),
    )
