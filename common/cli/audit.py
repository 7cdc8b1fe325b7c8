"""python -m common.audit"""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from common.attacks import ATTACKS, SHADOW_ATTACKS
from common.cli import flags
from common.cli.run import Work, run
from common.runtime import modes

if TYPE_CHECKING:
    from common.evaluation.audit import Audit
    from common.evaluation.protocols import EvaluationConfig

OF_MODEL = ("members", "non_members", "normalize", "classes", "size", "batch")
BATCH = 64
EXAMPLES = (
    "Such as `python -m common.audit --answers answers.npz`, or `python -m common.audit --model my_module:trained "
    "--members train/ --non-members held_out/ --size 64`; see docs/audit.md."
)


def main(argv: list[str] | None = None) -> int:
    parser = flags.parser(
        "python -m common.audit",
        "Does your classifier give away who was in its training set? Attack it by answers that you saved, or by asking "
        "it; without a diffusion model and without a dataset folder. Prints the verdict and writes a report.",
    )
    parser.epilog = EXAMPLES
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help=".npz with logits or probabilities [n, K], labels [n] and member [n], and where there are any fitting "
        "[n], shadow_logits [S, n, K] and in_shadow [S, n]; or .csv with columns label, member, logit_0, logit_1, …",
    )
    what.add_argument(
        "--model",
        metavar="MODEL",
        help="package.module:function that gives a trained classifier, or a file of TorchScript or torch.export (.pt2)",
    )
    _add_model(parser)
    parser.add_argument(
        "--outputs",
        choices=get_args(modes.Answers),
        help="what the classifier answers; default: as the file says, or as the sums tell",
    )
    parser.add_argument(
        "--attacks",
        nargs="+",
        choices=(*ATTACKS, *SHADOW_ATTACKS, "fast", "all"),
        default=["fast"],
        metavar="NAME",
        help="fast, which is all that need no search for the boundary; all; or some of "
        f"{', '.join((*ATTACKS, *SHADOW_ATTACKS))} (default: fast)",
    )
    flags.add_machine(parser)
    flags.add_settings(parser, "evaluation")
    flags.add_num_sample(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the report; default: audits/NAME")
    parser.add_argument("--name", help="of the classifier, for the report; default: that of the file or model")
    parser.add_argument("--latex", action="store_true", help="write the tables for LaTeX too, report.tex")
    parser.add_argument("--csv", action="store_true", help="write the scores of every judged sample too, scores.csv")
    parser.add_argument("--replace", action="store_true", help="write over the report of an audit before")
    return run(parser, argv, _prepare)


def _add_model(parser: argparse.ArgumentParser) -> None:
    """What goes with --model."""
    images = "of images: one folder for each class, or .npz with images uint8 [n, H, W, C] and labels [n]"
    parser.add_argument("--members", type=Path, metavar="DIR", help=f"the classifier's training set, a folder {images}")
    parser.add_argument(
        "--non-members", type=Path, metavar="DIR", help=f"other images of the same kind, a folder {images}"
    )
    parser.add_argument(
        "--normalize",
        nargs=2,
        type=_numbers,
        metavar=("MEAN", "STD"),
        help="what the classifier wants of images in [0, 1], by channel: 0.485,0.456,0.406 0.229,0.224,0.225; default: "
        "images in [0, 1] as they are",
    )
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="names of class folders, a line each, in the order of the answers; default: sorted by name",
    )
    parser.add_argument(
        "--size", type=flags.size, metavar="SIZE", help="that images are brought to, 64 or 218x178 (HxW)"
    )
    parser.add_argument(
        "--batch", type=flags.positive, metavar="N", help=f"images that are asked together (default: {BATCH})"
    )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers with commas between, a channel each, not {text!r}") from None


def _prepare(options: argparse.Namespace) -> Work:
    from common import __version__
    from common.experiment import audit
    from common.reports import write
    from common.runtime.config import parse_overrides
    from common.runtime.errors import UserError
    from common.runtime.paths import PAGE

    overrides = parse_overrides(options.settings)
    for file in overrides:
        if file != "evaluation":
            raise UserError(f"--set {file}.…: this command reads evaluation")
    if options.num_sample:
        overrides.setdefault("evaluation", {})["num_sample"] = options.num_sample
    config = audit.settings(overrides.get("evaluation"))
    if options.model and not (options.members and options.non_members):
        raise UserError("--model needs --members and --non-members, the images that it is asked about")
    idle = [name for name in OF_MODEL if getattr(options, name) is not None]
    if options.answers and idle:
        shown = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise UserError(f"{shown}: with --model only, since with --answers nothing is asked")
    name = options.name or name_of(options.answers or Path(options.model))
    out = options.out or Path("audits") / folder_name(name)
    write.require_free(out, replace=options.replace)

    def do() -> None:
        found = _audited(options, config, name)
        print(write.write_audit(out, found, replace=options.replace, latex=options.latex, csv=options.csv))
        print(f"All of it on one page: {out / PAGE}")

    what = options.answers or options.model
    head = f"python -m common.audit {__version__}: {what}, seed {options.seed}"
    return Work(head=lambda: [head], do=do, goes_on=False)


def name_of(given: Path) -> str:
    """Of a file without its ending, or of package.module:function."""
    return given.stem if given.is_file() else str(given).replace(":", ".").replace("/", ".")


def folder_name(name: str) -> str:
    """Of a folder in audits/, whatever a classifier is called. Raises UserError where nothing of the name is left.

    >>> folder_name("../../my model")
    'my model'
    """
    from common.runtime.errors import UserError

    folder = re.sub(r"[^\w. -]+", "-", name)[:100].strip(". -")
    if not folder:
        raise UserError(f"--name {name}: has no letter and no digit to name a folder by: give another, or --out")
    return folder


def _audited(options: argparse.Namespace, config: "EvaluationConfig", name: str) -> "Audit":
    from common.evaluation.origin import made
    from common.experiment import audit, audit_model
    from common.runtime.device import Compute, resolve

    attacks = options.attacks
    if "all" in options.attacks:
        attacks = [*ATTACKS, *SHADOW_ATTACKS] if options.answers else list(ATTACKS)
    how: dict[str, Any] = {"outputs": options.outputs, "attacks": attacks, "seed": options.seed, "name": name}
    how["made"] = made(Compute(resolve(options.device)))
    if options.answers:
        return audit.of_file(options.answers, config, **how)
    members, others = audit_model.images(
        options.members, options.non_members, classes=options.classes, size=options.size
    )
    normalisation = audit_model.Normalisation(*(options.normalize or ()))
    given: dict[str, Any] = {"normalisation": normalisation, "batch": options.batch or BATCH, "device": options.device}
    return audit_model.of_model(options.model, members, others, config, **given, **how)
