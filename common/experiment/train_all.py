"""Train everything that is not there yet.

Each step is the command a user would type, in a process of its own. The commands recognise their own finished work,
so this file only orders them, keeps their logs and sums up. Under torchrun the steps are shared out.
"""

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from common.defenses import DEFENSES
from common.experiment import data_partition, train_ddpm, train_defense
from common.experiment.experiment import Experiment
from common.experiment.plan import Item, of_file
from common.runtime import children, config, distributed, ownership
from common.runtime.device import Compute, resolve
from common.runtime.errors import UserError
from common.runtime.modes import Network, Precision
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject
from common.training.jobs import last_seconds

PARTITION, DDPM = ("data_partition.py",), ("train_ddpm.py",)


@dataclass(frozen=True)
class Step:
    """A command in a dataset's folder; those of one stage do not need each other.

    subject:  the classifier that it trains; None for the partition and the diffusion model
    """

    folder: DatasetFolder
    command: tuple[str, ...]
    subject: Subject | None = None

    def __str__(self) -> str:
        return " ".join(self.command)

    @property
    def any_precision(self) -> bool:
        """Whether it takes another precision than fp32."""
        if self.subject is None:
            return self.command != PARTITION
        return not DEFENSES[self.subject.defense].fp32_only

    @property
    def reads(self) -> tuple[str, ...]:
        """YAML files."""
        if self.subject is not None:
            return train_defense.reads(self.subject, published=False)
        return data_partition.READS if self.command == PARTITION else train_ddpm.READS


@dataclass(frozen=True)
class Options:
    """What every step is given."""

    seed: int
    device: str
    precision: Precision
    settings: tuple[str, ...] = ()  # of --set

    def words(self, step: Step) -> list[str]:
        """The command-line options of a step."""
        words = ["--seed", str(self.seed), "--device", self.device]
        if step.any_precision:
            words += ["--precision", self.precision]
        for setting in self.settings:
            if setting.partition(".")[0] in step.reads:
                words += ["--set", setting]
        return words


def stages(folders: Sequence[DatasetFolder], defenses: Sequence[str], models: Sequence[str]) -> list[list[Step]]:
    """Partitions, then what needs only them, then what protects an undefended classifier."""
    needed = {"undefended"} if any(DEFENSES[name].needs_undefended for name in defenses) else set()
    result: list[list[Step]] = [[], [], []]
    for folder in folders:
        if not folder.partition.is_file():
            result[0].append(Step(folder, PARTITION))
        result[1].append(Step(folder, DDPM))
        for model in models:
            for defense in sorted(needed | set(defenses), key=list(DEFENSES).index):
                subject = Subject(model, defense)
                command = tuple(subject.training_command.split()[1:])
                result[2 if DEFENSES[defense].needs_undefended else 1].append(Step(folder, command, subject))
    return result


def require_known(settings: Iterable[str], steps: Sequence[Sequence[Step]]) -> None:
    """Raise UserError where a --set is of no file that any step reads."""
    read = {name for stage in steps for step in stage for name in step.reads}
    for name in config.parse_overrides(settings):
        if name not in read:
            raise UserError(f"--set {name}: the steps read {', '.join(sorted(read))}")


def plan(steps: Sequence[Sequence[Step]], options: Options) -> list[Item]:
    """What every step would make, and what is there of it."""

    @cache
    def experiment(folder: DatasetFolder, precision: Precision) -> Experiment:
        compute = Compute(resolve(options.device), precision)
        networks: dict[Network, Compute] = {"classifier": compute, "diffusion": compute}
        return Experiment(folder, options.seed, networks, overrides=config.parse_overrides(options.settings))

    def item(step: Step) -> Item:
        return _item(step, experiment(step.folder, options.precision if step.any_precision else "fp32"))

    return [item(step) for stage in steps for step in stage]


def _item(step: Step, experiment: Experiment) -> Item:
    path = step.folder.classifier(step.subject) if step.subject else step.folder.ddpm
    try:
        if step.command == PARTITION:
            return data_partition.plan(experiment)[0]
        if step.subject is None:
            return train_ddpm.plan(experiment)[0]
        return train_defense.plan(experiment, step.subject, published=False)[0]
    except UserError as error:
        now = "not there" if _waits(step) and not path.is_file() else f"in question: {str(error).splitlines()[0]}"
        return of_file(path, step.folder, now=now, seconds=last_seconds(path))


def _waits(step: Step) -> bool:
    """Whether something that the step needs is made by an earlier one."""
    if not step.folder.partition.is_file():
        return True
    if step.subject is None or not DEFENSES[step.subject.defense].needs_undefended:
        return False
    return not step.folder.classifier(Subject(step.subject.model)).is_file()


def run_step(step: Step, options: Options) -> tuple[str, float]:
    """Run a command, showing its output and keeping a log of it; its outcome ("ok", or "exit 1") and seconds."""
    folder = step.folder
    command = [sys.executable, *step.command, *options.words(step)]
    shown = f"python {' '.join(command[1:])}"
    print(f"\n[{folder.name}] {shown}", flush=True)
    log, start = folder.train_log(str(step)), time.monotonic()
    with ownership.locked(log):
        log.unlink(missing_ok=True)  # not written through, where it is a link
        with log.open("xb") as file:
            status = children.run(command, cwd=folder.root, env=distributed.alone(), log=file)
    if status:
        print(f"failed with exit status {status}: {shown} in {folder.name}/, log {log}", flush=True)
    return ("ok" if status == 0 else f"exit {status}"), time.monotonic() - start


Row = tuple[str, str, str, float]
"""Dataset, command, outcome, seconds."""


def run_stage(steps: Sequence[Step], options: Options, *, keep_going: bool) -> list[Row]:
    """The steps of a stage that this process comes to, none after one that failed; the rows of all processes."""
    rows: list[Row] = []
    for number in distributed.claims(len(steps)):
        if keep_going or all(outcome == "ok" for _, _, outcome, _ in rows):
            outcome, seconds = run_step(step := steps[number], options)
            rows.append((step.folder.name, str(step), outcome, seconds))
    return [row for share in distributed.gather(rows) for row in share]


def run_all(stages: Sequence[Sequence[Step]], options: Options, *, keep_going: bool) -> list[Row]:
    """Stage after stage, up to the first with a failure unless all is to be tried."""
    rows: list[Row] = []
    for stage in stages:
        # without its partition nothing of a dataset can be trained
        lost = {name for name, step, outcome, _ in rows if outcome != "ok" and step == "data_partition.py"}
        left = [step for step in stage if step.folder.name not in lost]
        rows += run_stage(left, options, keep_going=keep_going)
        if not keep_going and any(outcome != "ok" for _, _, outcome, _ in rows):
            break
    return rows


def summary(rows: Sequence[Row]) -> str:
    return "\n".join(f"{name:<10}{step:<60}{outcome:<10}{seconds:>6.0f} s" for name, step, outcome, seconds in rows)
