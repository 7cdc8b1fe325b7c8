"""Run the benchmarks and print the table: python -m tests.benchmarks [NAME…]

Each runs in a process of its own. Its plain procedure comes first, with memory as Python and torch start with it; then
``device.keep_freed_memory`` is called, as every command of the project does.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable

from tests.benchmarks import arrays, evaluations, inference, shadows, training
from tests.benchmarks.measure import Row

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "bank": inference.bank,
    "queries": inference.queries,
    "single": inference.single,
    "interval": arrays.interval,
    "attacks": arrays.attacks,
    "reading": arrays.reading,
    "step": training.step,
    "soft_labels": training.soft_labels,
    "shadow_models": shadows.shadow_models,
    "growth": inference.growth,
    "evaluation": evaluations.evaluation,
    "processes": evaluations.processes,
    "memory": evaluations.memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Speed, as ratios in one run.")
    parser.add_argument("name", nargs="*", choices=[[], *BENCHMARKS], help=f"default: all of {', '.join(BENCHMARKS)}")
    names = parser.parse_args().name or list(BENCHMARKS)
    if len(names) == 1:
        for row in BENCHMARKS[names[0]]():
            print(row, flush=True)
        return
    print(Row("what", "plain", "here", "ratio", "to reach"), flush=True)
    for name in names:
        subprocess.run([sys.executable, "-m", "tests.benchmarks", name], check=True)


if __name__ == "__main__":
    main()
