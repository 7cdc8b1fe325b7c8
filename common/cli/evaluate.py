"""bash evaluate_mia.sh --defense undefended"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from common.cli import flags
from common.cli.run import Work, head, run
from common.runtime import modes

if TYPE_CHECKING:
    from common.evaluation.run import Settings
    from common.experiment.experiment import Experiment


def main(folder: Path, argv: list[str] | None = None) -> int:
    parser = flags.parser("evaluate_mia.sh", "Attack a trained classifier, alone and behind Diffence, and report both.")
    flags.add_machine(parser)
    flags.add_settings(parser, "data, classifier, evaluation, diffence")
    flags.add_defense(parser)
    parser.add_argument(
        "--scenario",
        type=int,
        choices=tuple(modes.SCENARIOS),
        help="what the defender knows: members and non-members, members only, neither; default: configs/diffence.yaml",
    )
    from_yaml = "default: configs/diffence.yaml"
    parser.add_argument("-N", type=flags.positive, help=f"reconstructions per image; {from_yaml}")
    parser.add_argument("-T", type=flags.positive, help=f"diffusion step to which images are noised; {from_yaml}")
    parser.add_argument(
        "--num-sample",
        type=flags.positive,
        help="members, and non-members, per role at most; default: configs/evaluation.yaml",
    )
    flags.add_speed(parser, "the diffusion model")
    parser.add_argument(
        "--diffusion",
        type=Path,
        metavar="PATH",
        help="diffusion model: a checkpoint with its flags file beside it, or a folder in diffusers' format "
        "(default: diff_defense/diff_models/half.pt)",
    )
    parser.add_argument(
        "--protocol",
        choices=(*get_args(modes.ProtocolName), "both"),
        default="both",
        help="held_out keeps every choice away from the samples that are scored; published computes what the paper's "
        "code computes",
    )
    parser.add_argument(
        "--noising",
        choices=get_args(modes.Noising),
        help=f"the forward process: ddpm, or that of the published code; {from_yaml}",
    )
    parser.add_argument(
        "--departures",
        nargs="?",
        const="text",
        choices=get_args(modes.TableStyle),
        help="instead of reporting, measure what each departure of the published code is worth: a table as text "
        "(without a value) or markdown",
    )
    flags.add_dry_run(parser)
    return run(parser, argv, lambda options: _prepare(folder, options))


def _prepare(folder: Path, options: argparse.Namespace) -> Work:
    from common.evaluation.protocols import PROTOCOLS
    from common.experiment import evaluate

    settings = {
        "diffence.scenario": options.scenario,
        "diffence.num_candidates": options.N,
        "diffence.step": options.T,
        "diffence.noising": options.noising,
        "evaluation.num_sample": options.num_sample,
    }
    experiment = flags.experiment(folder, options, network="diffusion", settings=settings)
    subject = flags.subject(options)
    protocols = list(PROTOCOLS.values()) if options.protocol == "both" else [PROTOCOLS[options.protocol]]
    chosen = evaluate.settings_for(experiment, subject, protocols)
    return Work(
        head=lambda: head(experiment, evaluate.READS, prog="evaluate_mia.sh"),
        plan=lambda: () if options.departures else evaluate.plan(experiment, subject),
        do=lambda: _do(experiment, chosen, options),
    )


def _do(experiment: "Experiment", settings: "Settings", options: argparse.Namespace) -> None:
    from common.experiment import evaluate
    from common.runtime.errors import UserError

    if not options.departures:
        shown = evaluate.run(experiment, settings)
    elif options.noising or options.protocol != "both":
        raise UserError("--departures compares protocols and noisings itself: leave out --protocol and --noising")
    else:
        shown = evaluate.measure_departures(experiment, settings, style=options.departures)
    if shown is not None:
        print(shown)
