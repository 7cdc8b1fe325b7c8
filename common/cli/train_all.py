"""bash all-train-all.sh"""

import argparse
import sys
from typing import TYPE_CHECKING, get_args

from common.cli import flags
from common.cli.run import Work, run
from common.defenses import DEFENSES
from common.runtime import modes
from common.runtime.paths import dataset_names

if TYPE_CHECKING:
    from common.experiment.train_all import Options, Step


def main(argv: list[str] | None = None) -> int:
    datasets = dataset_names()
    parser = flags.parser("all-train-all.sh", "Train every model that is not there yet.")
    flags.add_machine(parser)
    flags.add_settings(parser, "data, classifier, ddpm, a defence's own")
    parser.add_argument("--dataset", action="append", choices=datasets, help="may be repeated; default: all")
    parser.add_argument("--defense", action="append", choices=tuple(DEFENSES), help="may be repeated; default: all")
    parser.add_argument(
        "--model",
        action="append",
        type=flags.model,
        metavar="MODEL",
        help=f"{flags.MODEL_HELP}; may be repeated; default: resnet",
    )
    parser.add_argument("--keep-going", action="store_true", help="after a failure, go on with what does not need it")
    precisions = get_args(modes.Precision)
    parser.add_argument("--precision", choices=precisions, default="fp32", help="of the networks, where they allow it")
    flags.add_processes(parser)
    flags.add_dry_run(parser)
    return run(parser, argv, _prepare, module="common.cli.train_all")


def _prepare(options: argparse.Namespace) -> Work:
    from common import __version__
    from common.experiment import train_all
    from common.runtime.device import resolve
    from common.runtime.paths import REPOSITORY, DatasetFolder

    folders = [DatasetFolder(REPOSITORY / name) for name in options.dataset or dataset_names()]
    steps = train_all.stages(folders, options.defense or list(DEFENSES), options.model or ["resnet"])
    train_all.require_known(options.settings, steps)
    given = train_all.Options(options.seed, options.device, options.precision, tuple(options.settings))
    where = f"on {resolve(options.device)}, {options.precision} where that is allowed, seed {options.seed}"
    return Work(
        head=lambda: [f"all-train-all.sh {__version__}: {where}"],
        plan=lambda: train_all.plan(steps, given),
        do=lambda: _do(steps, given, keep_going=options.keep_going),
    )


def _do(steps: "list[list[Step]]", given: "Options", *, keep_going: bool) -> int:
    from common.experiment import train_all
    from common.runtime import distributed

    rows = train_all.run_all(steps, given, keep_going=keep_going)
    distributed.say("\n" + train_all.summary(rows))
    return 0 if all(outcome == "ok" for _, _, outcome, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
