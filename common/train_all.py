"""Train everything that is not there yet: what all-train-all.sh runs.

Each step is the command a user would type, in a process of its own. The commands recognise their own finished work,
so this file only orders them, keeps their logs and sums up.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from common.datasets import SPECS
from common.defenses import DEFENSES
from common.evaluation import training_command
from common.models import MODELS
from common.paths import REPOSITORY, DatasetFolder


def steps(folder: DatasetFolder, defenses: list[str], models: list[str]) -> Iterator[list[str]]:
    """The commands for one dataset, in order."""
    if not folder.partition.is_file():
        yield ["data_partition.py"]
    yield ["train_ddpm.py"]
    needed = {"undefended"} if any(DEFENSES[name].needs_undefended for name in defenses) else set()
    for model in models:
        for defense in sorted(needed | set(defenses), key=list(DEFENSES).index):
            yield training_command(defense, model).split()[1:]


def run_step(folder: DatasetFolder, step: list[str], options: list[str]) -> tuple[str, float]:
    """Run a command, showing its output and keeping a log of it; its outcome ("ok", or "exit 1") and seconds."""
    command = [sys.executable, *step, *options]
    print(f"\n[{folder.name}] python {' '.join(command[1:])}", flush=True)
    log = folder.train_log(" ".join(step))
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        while chunk := os.read(process.stdout.fileno(), 65536):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            file.write(chunk)
    status = process.wait()
    if status:
        print(f"failed with exit status {status}: python {' '.join(command[1:])} in {folder.name}/, log {log}")
    return ("ok" if status == 0 else f"exit {status}"), time.monotonic() - start


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
    options = parser.parse_args(argv)
    rows = []
    for name in options.dataset or SPECS:
        folder = DatasetFolder(REPOSITORY / name)
        for step in steps(folder, options.defense or list(DEFENSES), options.model or ["resnet"]):
            outcome, seconds = run_step(folder, step, ["--seed", options.seed, "--device", options.device])
            rows.append((name, " ".join(step), outcome, f"{seconds:.0f} s"))
            if outcome != "ok" and (not options.keep_going or step == ["data_partition.py"]):
                break
        if rows and rows[-1][2] != "ok" and not options.keep_going:
            break
    print("\n" + "\n".join(f"{name:<10}{step:<60}{outcome:<10}{seconds:>8}" for name, step, outcome, seconds in rows))
    return 0 if all(outcome == "ok" for _, _, outcome, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
