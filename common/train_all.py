"""Train everything that is not there yet: what all-train-all.sh runs.

Each step is the command a user would type, in a process of its own. The commands recognise their own finished work,
so this file only orders them, keeps their logs and sums up. Under torchrun the steps are shared out.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass

from common import distributed
from common.datasets import SPECS
from common.defenses import DEFENSES
from common.device import PRECISIONS
from common.evaluation import training_command
from common.models import MODELS
from common.paths import REPOSITORY, DatasetFolder


@dataclass(frozen=True)
class Step:
    """A command in a dataset's folder; those of one stage do not need each other."""

    folder: DatasetFolder
    command: tuple[str, ...]
    any_precision: bool = False  # whether it takes another than fp32

    def __str__(self) -> str:
        return " ".join(self.command)


def stages(folders: list[DatasetFolder], defenses: list[str], models: list[str]) -> list[list[Step]]:
    """Partitions, then what needs only them, then what protects an undefended classifier."""
    needed = {"undefended"} if any(DEFENSES[name].needs_undefended for name in defenses) else set()
    result: list[list[Step]] = [[], [], []]
    for folder in folders:
        if not folder.partition.is_file():
            result[0].append(Step(folder, ("data_partition.py",)))
        result[1].append(Step(folder, ("train_ddpm.py",), any_precision=True))
        for model in models:
            for defense in sorted(needed | set(defenses), key=list(DEFENSES).index):
                stage = 2 if DEFENSES[defense].needs_undefended else 1
                command = tuple(training_command(defense, model).split()[1:])
                result[stage].append(Step(folder, command, any_precision=not DEFENSES[defense].fp32_only))
    return result


def run_step(step: Step, options: list[str], *, precision: str) -> tuple[str, float]:
    """Run a command, showing its output and keeping a log of it; its outcome ("ok", or "exit 1") and seconds."""
    folder = step.folder
    command = [sys.executable, *step.command, *options, *(["--precision", precision] if step.any_precision else [])]
    shown = f"python {' '.join(command[1:])}"
    print(f"\n[{folder.name}] {shown}", flush=True)
    log = folder.train_log(str(step))
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder.root, env=distributed.alone(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        while chunk := os.read(process.stdout.fileno(), 65536):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            file.write(chunk)
    status = process.wait()
    if status:
        print(f"failed with exit status {status}: {shown} in {folder.name}/, log {log}", flush=True)
    return ("ok" if status == 0 else f"exit {status}"), time.monotonic() - start


Row = tuple[str, str, str, float]
"""Dataset, command, outcome, seconds."""


def run_stage(steps: list[Step], options: list[str], *, precision: str, keep_going: bool) -> list[Row]:
    """This process's share of a stage, up to a failure in the share; the rows of all processes."""
    rows: list[Row] = []
    for step in steps[distributed.share()]:
        outcome, seconds = run_step(step, options, precision=precision)
        rows.append((step.folder.name, str(step), outcome, seconds))
        if outcome != "ok" and not keep_going:
            break
    return [row for share in distributed.gather(rows) for row in share]


def run_all(stages: list[list[Step]], options: list[str], *, precision: str, keep_going: bool) -> list[Row]:
    """Stage after stage, up to the first with a failure unless told to keep going."""
    rows: list[Row] = []
    for stage in stages:
        # without its partition nothing of a dataset can be trained
        lost = {name for name, step, outcome, _ in rows if outcome != "ok" and step == "data_partition.py"}
        left = [step for step in stage if step.folder.name not in lost]
        rows += run_stage(left, options, precision=precision, keep_going=keep_going)
        if not keep_going and any(outcome != "ok" for _, _, outcome, _ in rows):
            break
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="all-train-all.sh", allow_abbrev=False, description="Train every model that is not there yet."
    )
    parser.add_argument("--dataset", action="append", choices=tuple(SPECS), help="may be repeated; default: all")
    parser.add_argument("--defense", action="append", choices=tuple(DEFENSES), help="may be repeated; default: all")
    parser.add_argument("--model", action="append", choices=MODELS, help="may be repeated; default: resnet")
    parser.add_argument("--keep-going", action="store_true", help="after a failure, go on with what does not need it")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the networks, where they allow it")
    parser.add_argument("--nproc", type=int, default=1, help="processes that share the models out (default: 1)")
    options = parser.parse_args(argv)
    if options.nproc > 1 and distributed.world_size() == 1:
        arguments = sys.argv[1:] if argv is None else argv
        return distributed.launch(options.nproc, ["common.train_all", *arguments], module=True)
    steps = stages(
        [DatasetFolder(REPOSITORY / name) for name in options.dataset or SPECS],
        options.defense or list(DEFENSES),
        options.model or ["resnet"],
    )
    with distributed.processes():
        rows = run_all(
            steps,
            ["--seed", options.seed, "--device", options.device],
            precision=options.precision,
            keep_going=options.keep_going,
        )
    lines = [f"{name:<10}{step:<60}{outcome:<10}{seconds:>6.0f} s" for name, step, outcome, seconds in rows]
    distributed.say("\n" + "\n".join(lines))
    return 0 if all(outcome == "ok" for _, _, outcome, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
