"""Run the repository's Python scripts in processes forked from one that has imported everything.

Starting Python and importing torch takes seconds; a fork takes none, and the script that runs is the same file.
"""

import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

WORK = [
    f"common.experiment.{name}"
    for name in (
        "data_partition",
        "evaluate",
        "export_published",
        "train_all",
        "train_ddpm",
        "train_defense",
        "train_shadows",
    )
]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["common.cli.train_all", *WORK, "sklearn.datasets", "tests.served"])


Machine = Callable[[], contextlib.AbstractContextManager[object]]
"""A pretended machine on which a script runs, such as ``PretendedGpu``."""


def start(
    root: Path,
    folder: str,
    script: str,
    *arguments: str,
    output: Path,
    machine: Machine = contextlib.nullcontext,
) -> multiprocessing.process.BaseProcess:
    """Start a script of a miniature repository, its output going to ``output``.stdout and .stderr."""
    process = _CONTEXT.Process(target=_execute, args=(root, root / folder, script, arguments, output, machine))
    process.start()
    return process


def run(
    root: Path, folder: str, script: str, *arguments: str, machine: Machine = contextlib.nullcontext
) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, as ``miniature.run`` does."""
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "output"
        process = start(root, folder, script, *arguments, output=output, machine=machine)
        process.join()
        assert process.exitcode is not None
        texts = [output.with_suffix(f".{name}").read_text() for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess([script, *arguments], process.exitcode, *texts)


def _execute(root: Path, folder: Path, script: str, arguments: tuple[str, ...], output: Path, machine: Machine) -> None:
    os.chdir(folder)  # of this process alone: a user starts the script in its folder
    sys.argv = [script, *arguments]
    with (
        output.with_suffix(".stdout").open("w") as out,
        output.with_suffix(".stderr").open("w") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        machine(),
    ):
        runpy.run_path(str(root / "patch" / "sitecustomize.py"))
        runpy.run_path(script, run_name="__main__")
