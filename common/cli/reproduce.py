"""bash reproduce.sh ITEM"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from common.cli import flags
from common.cli.run import Work, run
from common.paper import ITEMS
from common.runtime.paths import PAPER_ITEMS, REPOSITORY, dataset_names


def main(argv: list[str] | None = None) -> int:
    parser = flags.parser(
        "reproduce.sh",
        "Make tables and figures of the paper, the paper's numbers beside ours: train what is missing, attack, and "
        "write docs/paper/ITEM.md with pictures and LaTeX; goes on if interrupted.",
    )
    flags.add_machine(parser)
    flags.add_processes(parser)
    parser.add_argument("items", nargs="+", choices=(*ITEMS, "all"), metavar="ITEM", help=f"{', '.join(ITEMS)}, all")
    parser.add_argument(
        "--dataset", action="append", choices=dataset_names(), help="may be repeated, for averages; default: digits"
    )
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / PAPER_ITEMS, metavar="DIR", help="where pages go; default: docs/paper"
    )
    parser.add_argument(
        "--other-diffusion",
        type=Path,
        metavar="PATH",
        help="for figure8 and figure13: a diffusion model of other data, as --diffusion",
    )
    flags.add_dry_run(parser)
    return run(parser, argv, _prepare, module="common.cli.reproduce")


def _prepare(options: argparse.Namespace) -> Work:
    from common import __version__
    from common.experiment.train_all import Options
    from common.paper import reproduce, write
    from common.runtime.device import resolve
    from common.runtime.errors import UserError
    from common.runtime.paths import DatasetFolder

    items = list(ITEMS) if "all" in options.items else [name for name in ITEMS if name in options.items]
    request = reproduce.Request(
        items,
        [DatasetFolder(REPOSITORY / name) for name in dict.fromkeys(options.dataset or ["digits"])],
        options.out.resolve(),
        Options(options.seed, options.device, "fp32"),
        options.other_diffusion and options.other_diffusion.resolve(),
    )
    write.require_place(request.out)
    left_out = reproduce.lacking(request)
    if left_out and "all" not in options.items:
        raise UserError(next(iter(left_out.values())))
    request = replace(request, items=[name for name in items if name not in left_out])
    where = f"on {resolve(options.device)}, seed {options.seed}"
    return Work(
        head=lambda: [
            f"reproduce.sh {__version__}: {', '.join(request.items)} of {', '.join(request.datasets)} {where}",
            *(f"{name} is left out: {reason}" for name, reason in left_out.items()),
            *filter(None, [reproduce.estimate(request)]),
        ],
        plan=lambda: reproduce.plan(request),
        do=lambda: reproduce.reproduce(request),
    )


if __name__ == "__main__":
    sys.exit(main())
