"""How every command runs: parse, start processes, say what will be done, do it, and turn errors into an exit status."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cli import failures

if TYPE_CHECKING:
    from common.experiment.experiment import Experiment
    from common.experiment.plan import Item


@dataclass(frozen=True)
class Work:
    """What a command is going to do.

    do:       does it; gives an exit status, None being 0
    head:     the first lines: what it works with
    plan:     what it would make, and what is there of it
    goes_on:  where it is interrupted, the same command goes on
    """

    do: Callable[[], int | None]
    head: Callable[[], Sequence[str]] = tuple
    plan: Callable[[], Sequence["Item"]] = tuple
    goes_on: bool = True


def run(
    parser: argparse.ArgumentParser,
    argv: list[str] | None,
    prepare: Callable[[argparse.Namespace], Work],
    *,
    module: str | None = None,
) -> int:
    """Run a command.

    module:  the one to start in several processes, where the command is no script
    """
    nowhere = os.devnull  # in the place of what the caller has closed
    sys.stdout, sys.stderr = sys.stdout or open(nowhere, "w"), sys.stderr or open(nowhere, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character shows another
    os.environ["MPLBACKEND"] = "agg"  # pictures are files: whatever a notebook or a desktop has left there
    options, goes_on = parser.parse_args(argv), True
    try:
        with failures.nothing_begun():
            from common.runtime import children, device, distributed

        device.keep_freed_memory()
        distributed.require_whole_launch()
        children.remember_last_words(distributed.rank())
        device.limit_threads()
        if getattr(options, "nproc", 1) > 1 and distributed.world_size() == 1:
            own = sys.argv[1:] if module is None or argv is None else argv  # `diffence` gives a module fewer
            program = [module or sys.argv[0], *own]
            return children.launch(options.nproc, program, cores=device.cores(), module=module is not None)
        with distributed.processes():
            with failures.nothing_begun():
                work = prepare(options)
            goes_on = work.goes_on
            introduction = [*work.head(), *_planned(work.plan())]
            if introduction:
                distributed.say("\n".join([*introduction, ""]))
            return 0 if getattr(options, "dry_run", False) else work.do() or 0
    except (Exception, KeyboardInterrupt) as error:
        return failures.report(error, whole=options.traceback, goes_on=goes_on)


def _planned(items: Sequence["Item"]) -> list[str]:
    from common.experiment import plan

    return [plan.table(items)] if items else []


def head(experiment: "Experiment", reads: Sequence[str], *, prog: str) -> list[str]:
    """Device, precisions, threads and seed, and the settings that differ from the YAML files.

    Raises UserError where a setting is of a file that the command does not read.
    """
    import torch

    from common import __version__
    from common.runtime import distributed

    precisions = ", ".join(f"{name} {compute}" for name, compute in experiment.compute.items())
    processes = f"{distributed.world_size()} processes of " if distributed.world_size() > 1 else ""
    lines = [
        f"{prog} {__version__}: {experiment.folder.name} on {experiment.device}, {precisions}, "
        f"{processes}{torch.get_num_threads()} threads, seed {experiment.seed}"
    ]
    changed = experiment.changed_settings(reads)
    return [*lines, f"settings that differ from configs/: {', '.join(changed)}"] if changed else lines
