"""Options that several commands have."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from common import __version__
from common.defenses import DEFENSES
from common.models import MODELS, is_own
from common.runtime import modes
from common.runtime.config import parse_overrides

if TYPE_CHECKING:
    from common.experiment.experiment import Experiment
    from common.runtime.images import Size
    from common.runtime.subject import Subject


NAMED_MODELS = ", ".join(MODELS)
MODEL_HELP = (
    f"classifier family ({NAMED_MODELS}), or package.module:function that makes your own, torchvision:NAME or timm:NAME"
)
MOST_PROCESSES = 1024  # on one machine


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser with --version, whose help ends each option with its default."""
    made = argparse.ArgumentParser(
        prog=prog, description=description, allow_abbrev=False, formatter_class=_ShowsDefaults
    )
    made.add_argument("--version", action="version", version=f"diffence {__version__}")
    made.add_argument("--traceback", action="store_true", help="show where in the program an error came up")
    return made


class _ShowsDefaults(argparse.HelpFormatter):
    """Adds the default of an option that has one to its help, unless it is said there."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        said = action.help or ""
        if action.default is None or action.default is argparse.SUPPRESS or "default" in said or action.nargs == 0:
            return said
        return f"{said} (default: %(default)s)"


def add_machine(made: argparse.ArgumentParser, *, idle: bool = False) -> None:
    """``idle``: the command draws and computes nothing, and takes them since every command does."""
    drawn, best = ("without effect here",) * 2 if idle else ("of every random draw", "auto is the best there is")
    made.add_argument("--seed", type=seed, default=0, help=drawn)
    made.add_argument("--device", choices=get_args(modes.Device), default="auto", help=best)


def add_settings(made: argparse.ArgumentParser, files: str) -> None:
    """--set; ``files`` names the YAML files that the command reads."""
    made.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="FILE.KEY=VALUE",
        help=f"replace a value of configs/FILE.yaml, FILE being one of {files}; may be repeated; default: none",
    )


def add_defense(made: argparse.ArgumentParser) -> None:
    made.add_argument("--defense", choices=tuple(DEFENSES), required=True)
    add_model(made)


def add_model(made: argparse.ArgumentParser) -> None:
    made.add_argument("--model", type=model, default="resnet", metavar="MODEL", help=MODEL_HELP)


def model(text: str) -> str:
    if text not in MODELS and not is_own(text):
        raise argparse.ArgumentTypeError(f"must be {NAMED_MODELS}, or like my_models:build, not {text}")
    return text


def add_original(made: argparse._ActionsContainer) -> None:
    made.add_argument(
        "--original",
        choices=get_args(modes.OriginalSettings),
        help="the classifier that is trained as in the paper of this defence, configs/original/: the defence itself, "
        "or the undefended one beside it; default: the one that is trained as all are here",
    )


def add_speed(made: argparse.ArgumentParser, network: str) -> None:
    made.add_argument("--precision", choices=get_args(modes.Precision), default="fp32", help=f"of {network}'s products")
    made.add_argument(
        "--compile", action="store_true", help=f"compile {network} (needs a C++ compiler; rounds differently)"
    )
    add_processes(made)


def add_num_sample(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--num-sample",
        type=positive,
        help="members, and non-members, per role at most; default: configs/evaluation.yaml",
    )


def add_processes(made: argparse.ArgumentParser) -> None:
    made.add_argument("--nproc", type=_processes, default=1, help="processes on this machine that share the work")


def add_tensorboard(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--tensorboard",
        action="store_true",
        help="write events for TensorBoard beside the checkpoint (`tensorboard --logdir .`); needs "
        "requirements-tensorboard.txt",
    )


def add_dry_run(made: argparse.ArgumentParser) -> None:
    made.add_argument("--dry-run", action="store_true", help="print what would be made and what is there; do nothing")


def seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must be 0 … 2^32 - 1, not {value}")
    return value


def _processes(text: str) -> int:
    value = positive(text)
    if value > MOST_PROCESSES:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_PROCESSES}, not {value}")
    return value


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def size(text: str) -> "Size":
    from common.runtime.images import size_of

    found = re.fullmatch(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected a number such as 64, or height and width such as 48x64, not {text}")
    return size_of(int(found[1]), int(found[2] or found[1]))


def subject(options: argparse.Namespace, defense: str | None = None) -> "Subject":
    """The one of the options, or of a defence where they have several. Raises UserError where there is none such."""
    from common.runtime.errors import UserError
    from common.runtime.subject import Subject

    defense, original = defense or options.defense, getattr(options, "original", None)
    if original is not None and defense not in ("undefended", original):
        raise UserError(f"--original {original} is for --defense {original} and undefended, not {defense}")
    return Subject(options.model, defense, original=original)


def experiment(
    folder: Path, options: argparse.Namespace, *, network: modes.Network, settings: dict[str, Any] | None = None
) -> "Experiment":
    """The experiment that the options describe; ``settings`` are further overrides by `FILE.KEY`, None being none."""
    from common.experiment.experiment import Experiment
    from common.runtime.paths import DatasetFolder

    overrides = parse_overrides(options.settings)
    for name, value in (settings or {}).items():
        if value is not None:
            file, _, key = name.partition(".")
            overrides.setdefault(file, {})[key] = value
    return Experiment.at(
        DatasetFolder(folder),
        seed=options.seed,
        device=options.device,
        network=network,
        precision=getattr(options, "precision", "fp32"),
        compile=getattr(options, "compile", False),
        diffusion=getattr(options, "diffusion", None),
        overrides=overrides,
    )
