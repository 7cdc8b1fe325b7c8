"""diffence COMMAND: every command line of the project under one name, where the package is installed."""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from common import __version__

IN_A_FOLDER = ("data-partition", "train-ddpm", "train-defense", "train-shadows", "evaluate", "export-published")
ANYWHERE = ("audit", "new-dataset", "reproduce", "summary", "train-all")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="diffence",
        description="Diffence's commands; `diffence COMMAND --help` says what each takes. "
        f"{', '.join(IN_A_FOLDER)} work in the current folder, which must be a dataset's.",
    )
    parser.add_argument("--version", action="version", version=f"diffence {__version__}")
    parser.add_argument(
        "command", choices=(*IN_A_FOLDER, *ANYWHERE), metavar="COMMAND", help=", ".join(IN_A_FOLDER + ANYWHERE)
    )
    parser.add_argument("options", nargs=argparse.REMAINDER, help="the command's own")
    given = parser.parse_args(argv)
    work = import_module(f"common.cli.{given.command.replace('-', '_')}").main
    if given.command in ANYWHERE:
        return int(work(given.options))
    folder = Path.cwd()
    asked = {"-h", "--help", "--version"} & set(given.options)
    if not asked and not (folder / "configs" / "data.yaml").is_file():
        parser.exit(
            1, f"error: {folder} is no dataset folder (it has no configs/data.yaml): go into one such as digits\n"
        )
    return int(work(folder, given.options))


if __name__ == "__main__":
    sys.exit(main())
