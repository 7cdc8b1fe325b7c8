"""Run the benchmarks and print the table: python -m tests.benchmarks [NAME…]"""

import argparse
from collections.abc import Callable

from tests.benchmarks import arrays, evaluations, inference, training
from tests.benchmarks.measure import Row

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "bank": inference.bank,
    "queries": inference.queries,
    "interval": arrays.interval_search,
    "attacks": arrays.attacks,
    "reading": arrays.reading,
    "step": training.step,
    "soft_labels": training.soft_labels,
    "growth": inference.growth,
    "evaluation": evaluations.evaluation,
    "processes": evaluations.processes,
    "memory": evaluations.memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Speed, as ratios in one run.")
    parser.add_argument("name", nargs="*", choices=[[], *BENCHMARKS], help=f"default: all of {', '.join(BENCHMARKS)}")
    names = parser.parse_args().name or list(BENCHMARKS)
    print(Row("what", "plain", "here", "ratio", "to reach"), flush=True)
    for name in names:
        for row in BENCHMARKS[name]():
            print(row, flush=True)


if __name__ == "__main__":
    main()
