"""bash evaluate_mia.sh --defense undefended"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from common.attacks import ATTACKS
from common.cli import flags
from common.cli.run import Work, head, run
from common.defenses import DEFENSES
from common.runtime import modes

if TYPE_CHECKING:
    from common.evaluation.protocols import Protocol
    from common.evaluation.record import UnderProtocol
    from common.evaluation.run import Settings
    from common.experiment.experiment import Experiment
    from common.runtime.subject import Subject


def main(folder: Path, argv: list[str] | None = None) -> int:
    parser = flags.parser("evaluate_mia.sh", "Attack a trained classifier, alone and behind Diffence, and report both.")
    flags.add_machine(parser)
    flags.add_settings(parser, "data, classifier, evaluation, diffence")
    _add_what(parser)
    _add_fence(parser)
    flags.add_num_sample(parser)
    flags.add_speed(parser, "the diffusion model")
    parser.add_argument(
        "--diffusion",
        type=Path,
        metavar="PATH",
        help="diffusion model, of images of any size: a checkpoint with its flags file beside it, one of OpenAI's with "
        "its flags as YAML, or a folder in diffusers' format (default: diff_defense/diff_models/half.pt)",
    )
    parser.add_argument(
        "--protocol",
        nargs="+",
        choices=get_args(modes.ProtocolName),
        default=list(get_args(modes.ProtocolName)),
        metavar="NAME",
        help="held_out: the paper's fence, every choice kept away from the samples that are scored; steady: the same "
        "for the fence that configs/diffence.yaml says; published: what the paper's code computes (default: all)",
    )
    _add_tables(parser)
    flags.add_dry_run(parser)
    return run(parser, argv, lambda options: _prepare(folder, options))


def _add_tables(parser: argparse.ArgumentParser) -> None:
    """What is written beside the report, and what is measured instead of it."""
    tables = {
        "--departures": "what each departure of the published code is worth",
        "--measures": "what each measure of a fence leaves to attackers who know it, alone and together; with --seeds "
        "mean and spread",
    }
    either = parser.add_mutually_exclusive_group()
    for option, what in tables.items():
        either.add_argument(
            option,
            nargs="?",
            const="text",
            choices=get_args(modes.TableStyle),
            help=f"instead of reporting, measure {what}: a table as text (without a value) or markdown",
        )
    parser.add_argument(
        "--out", metavar="NAME", help="write to runs/NAME, not to where the latest is, which else is kept in runs/"
    )
    parser.add_argument("--latex", action="store_true", help="write the tables of the report for LaTeX too, report.tex")
    parser.add_argument(
        "--csv",
        action="store_true",
        help="write the scores of every attack for every sample of the held-out final test too, scores.csv",
    )
    either.add_argument(
        "--shadows",
        nargs="?",
        const=0,
        type=int,
        metavar="M",
        help="instead of reporting, audit by the shadow models of train_shadows.py; with a number by those that "
        "have so many canaries",
    )


def _add_what(parser: argparse.ArgumentParser) -> None:
    """Which classifiers are attacked, by whom and how often."""
    parser.add_argument(
        "--defense",
        nargs="+",
        choices=(*DEFENSES, "all"),
        required=True,
        metavar="NAME",
        help=f"{', '.join(DEFENSES)}; with --seeds several, or all",
    )
    flags.add_model(parser)
    flags.add_original(parser)
    parser.add_argument(
        "--attacks",
        nargs="+",
        choices=(*ATTACKS, "fast", "all"),
        default=["fast"],
        metavar="NAME",
        help="attacks of the held-out protocol: fast, which is all that need no search for the boundary; all; or some "
        f"of {', '.join(ATTACKS)} (default: fast)",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=flags.seed,
        metavar="SEED",
        help="partition, models, fence and attacks anew for each, in seeds/SEED, and mean and spread in one table; "
        "what is finished is kept; default: one evaluation, of what is in this folder",
    )


def _add_fence(parser: argparse.ArgumentParser) -> None:
    """Replacements for values of configs/diffence.yaml."""
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
        "--noising",
        choices=get_args(modes.Noising),
        help=f"the forward process: ddpm, or that of the published code; {from_yaml}",
    )


def _prepare(folder: Path, options: argparse.Namespace) -> Work:
    from common.experiment import evaluate
    from common.runtime.errors import UserError

    settings = {
        "diffence.scenario": options.scenario,
        "diffence.num_candidates": options.N,
        "diffence.step": options.T,
        "diffence.noising": options.noising,
        "evaluation.num_sample": options.num_sample,
    }
    experiment = flags.experiment(folder, options, network="diffusion", settings=settings)
    _require_report(options)
    defenses = list(DEFENSES) if "all" in options.defense else list(dict.fromkeys(options.defense))
    chosen = [
        evaluate.settings_for(experiment, flags.subject(options, defense), _protocols(options)) for defense in defenses
    ]
    if options.seeds is not None:
        return _over_seeds(experiment, chosen, options)
    if len(chosen) > 1:
        raise UserError("--defense: one at a time, but with --seeds")
    if options.shadows is not None:
        if options.original:
            raise UserError("--shadows: there are no shadow models of --original")
        return _by_shadows(experiment, chosen[0].subject, options.shadows)
    return Work(
        head=lambda: head(experiment, evaluate.READS, prog="evaluate_mia.sh"),
        plan=lambda: (
            ()
            if options.departures or options.measures
            else evaluate.plan(experiment, chosen[0].subject, name=options.out)
        ),
        do=lambda: _do(experiment, chosen[0], options),
    )


def _protocols(options: argparse.Namespace) -> "list[Protocol]":
    """Those that were asked for, with the attacks that were."""
    from common.evaluation.protocols import PROTOCOLS

    names = [name for name in ATTACKS if name in options.attacks or "all" in options.attacks]
    if "fast" in options.attacks:
        names = [name for name, attack in ATTACKS.items() if attack.fast or name in names]
    return [replace(each, chosen=tuple(names)) for name, each in PROTOCOLS.items() if name in options.protocol]


def _require_report(options: argparse.Namespace) -> None:
    """Raise UserError where something is to be written beside a report that there will not be."""
    from common.runtime.errors import UserError

    instead = options.departures or options.measures or options.shadows is not None or options.seeds is not None
    if (options.latex or options.csv or options.out) and instead:
        raise UserError(
            "--latex, --csv, --out go with one report: leave out --departures, --measures, --shadows, --seeds"
        )
    everything = options.attacks == ["fast"] and set(options.protocol) == set(get_args(modes.ProtocolName))
    if options.shadows is not None and not everything:
        raise UserError("--shadows runs all attacks that train shadow models: leave out --attacks and --protocol")
    if options.csv and set(options.protocol) == {"published"}:
        raise UserError("--csv writes the scores of the held-out final test: --protocol needs held_out or steady too")


def _over_seeds(experiment: "Experiment", chosen: "list[Settings]", options: argparse.Namespace) -> Work:
    from common.experiment import seeds
    from common.runtime.errors import UserError

    if options.seed or options.departures or options.diffusion or options.shadows is not None:
        raise UserError("--seeds trains all anew: leave out --seed, --departures, --shadows and --diffusion")
    each = seeds.runs(experiment, chosen, list(dict.fromkeys(options.seeds)))
    return Work(
        head=lambda: head(experiment, seeds.reads(chosen), prog="evaluate_mia.sh"),
        plan=lambda: () if options.measures else seeds.plan(each),
        do=lambda: (
            _measured(seeds.worth_of_measures(each), options) if options.measures else _shown(seeds.run_all(each))
        ),
    )


def _by_shadows(experiment: "Experiment", subject: "Subject", canaries: int) -> Work:
    from common.experiment import shadow_audit
    from common.experiment.shadow_store import Store

    store = Store.of(experiment, subject, canaries=canaries)
    return Work(
        head=lambda: head(experiment, store.reads, prog="evaluate_mia.sh"),
        plan=lambda: shadow_audit.plan(store),
        do=lambda: _shown(shadow_audit.audit(store)),
    )


def _do(experiment: "Experiment", settings: "Settings", options: argparse.Namespace) -> None:
    from common.experiment import evaluate
    from common.runtime.errors import UserError

    if options.measures:
        found = evaluate.worth_of_measures(experiment, settings)
        _measured(None if found is None else [found], options)
    elif not options.departures:
        _shown(evaluate.run(experiment, settings, latex=options.latex, csv=options.csv, name=options.out))
    elif options.noising or set(options.protocol) != set(get_args(modes.ProtocolName)):
        raise UserError("--departures compares protocols and noisings itself: leave out --protocol and --noising")
    else:
        _shown(evaluate.measure_departures(experiment, settings, style=options.departures))


def _measured(found: "list[dict[str, UnderProtocol]] | None", options: argparse.Namespace) -> None:
    from common.reports import measures

    _shown(None if found is None else measures.table(found, style=options.measures))


def _shown(text: str | None) -> None:
    if text is not None:
        print(text)
