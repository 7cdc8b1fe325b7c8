"""python -m common.audit"""

import argparse
from pathlib import Path
from typing import get_args

from common.attacks import ATTACKS, SHADOW_ATTACKS
from common.cli import flags
from common.cli.run import Work, run
from common.runtime import modes


def main(argv: list[str] | None = None) -> int:
    parser = flags.parser(
        "python -m common.audit",
        "Attack a classifier of yours, without a diffusion model and without a dataset folder: by answers that you "
        "saved. Prints the verdict and writes a report.",
    )
    parser.add_argument(
        "--answers",
        type=Path,
        required=True,
        metavar="FILE",
        help=".npz with logits or probabilities [n, K], labels [n] and member [n], and where there are any fitting "
        "[n], shadow_logits [S, n, K] and in_shadow [S, n]; or .csv with columns label, member, logit_0, logit_1, …",
    )
    parser.add_argument(
        "--outputs",
        choices=get_args(modes.Answers),
        help="what the answers are; default: as the file says, or as their sums tell",
    )
    parser.add_argument(
        "--attacks",
        nargs="+",
        choices=(*ATTACKS, *SHADOW_ATTACKS, "all"),
        default=["all"],
        metavar="NAME",
        help=f"some of {', '.join((*ATTACKS, *SHADOW_ATTACKS))} (default: all that the answers allow)",
    )
    flags.add_settings(parser, "audit")
    parser.add_argument("--seed", type=flags.seed, default=0, help="of every random draw")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the report; default: audits/NAME below the current folder"
    )
    parser.add_argument("--replace", action="store_true", help="write over the report of an audit before")
    return run(parser, argv, _prepare)


def _prepare(options: argparse.Namespace) -> Work:
    from common import __version__
    from common.experiment import audit
    from common.reports import write
    from common.runtime.config import parse_overrides
    from common.runtime.errors import UserError

    overrides = parse_overrides(options.settings)
    for file in overrides:
        if file != "audit":
            raise UserError(f"--set {file}.…: this command reads audit")
    config = audit.settings(overrides.get("audit"))
    out = options.out or Path("audits") / options.answers.stem
    if (out / "report.json").exists() and not options.replace:
        raise UserError(f"{out} has a report of an audit before: give another --out, or --replace")
    attacks = None if "all" in options.attacks else options.attacks

    def do() -> None:
        found = audit.of_file(options.answers, config, outputs=options.outputs, attacks=attacks, seed=options.seed)
        print(write.write_audit(out, found))
        print(f"{out / 'report.json'} has all numbers")

    return Work(head=lambda: [f"python -m common.audit {__version__}: {options.answers}, seed {options.seed}"], do=do)
