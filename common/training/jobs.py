"""What a training is to leave behind, and how finished work is recognised."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.runtime import checkpoints, config, distributed, storage
from common.runtime.config import NonNegativeFloat, Strict
from common.runtime.errors import UserError
from common.runtime.modes import OriginalSettings, Precision


class Provenance(Strict):
    """What a checkpoint was made from: equal provenance, equal bytes (on one kind of machine).

    ddpm:            the diffusion model's configuration, for a diffusion model
    defense, classifier, settings:  name, network and configuration, for a classifier
    undefended, tuning_members:     what a defence that protects another classifier depends on: that one's sha256, and
                                    which members its guesser learns from
    teacher:         the number of one of SELENA's teachers
    original:        the defence with the settings of whose own paper it was trained
    brought:         the sha256 of the file that a classifier came in which was trained elsewhere
    """

    dataset: str
    partition: str  # the partition's key
    seed: int
    precision: Precision
    ddpm: dict[str, Any] | None = None
    defense: str | None = None
    classifier: dict[str, dict[str, Any]] | None = None
    settings: dict[str, Any] | None = None
    undefended: str | None = None
    tuning_members: str | None = None
    teacher: int | None = None
    original: OriginalSettings | None = None
    brought: str | None = None

    def record(self) -> dict[str, Any]:
        """As checkpoints hold it: what does not apply is left out."""
        return {name: value for name, value in self if value is not None}


@dataclass(frozen=True)
class Job:
    """A checkpoint to make at ``path``, recognised later by a digest of its provenance."""

    path: Path
    made_from: Provenance

    @property
    def key(self) -> str:
        return storage.digest(self.made_from.record())

    @property
    def progress_path(self) -> Path:
        return self.path.with_name(self.path.name + ".progress")

    @property
    def log_path(self) -> Path:
        return self.path.with_name(self.path.name + ".log.csv")

    @property
    def seconds_path(self) -> Path:
        return seconds_path(self.path)


@dataclass(frozen=True)
class State:
    """Whether a job is done, and how that is said."""

    done: bool
    says: str


def state(job: Job) -> State:
    """What is there of a job. Nothing is changed.

    Raises UserError where the file there was not written by this project, which is never overwritten.
    """
    if not job.path.is_file():
        return State(False, "begun, goes on where it stopped" if job.progress_path.is_file() else "not there")
    try:
        read = checkpoints.read(job.path, expect={})
    except checkpoints.Damaged as error:
        return State(False, f"trained anew: {error}")
    except UserError as error:
        raise UserError(f"{error}; move it away to train anew") from error
    found = read.content.get("made_from")
    if not isinstance(found, dict):
        raise UserError(f"{job.path} was not trained here and will not be overwritten: move it away to train anew")
    if found.get("brought") and found["brought"] != job.made_from.brought:
        raise UserError(f"{job.path} was trained elsewhere and will not be overwritten: move it away to train anew")
    wanted = checkpoints.plain(job.made_from.record())
    try:
        differences = "" if found == wanted else difference(found, wanted)
    except (TypeError, ValueError, RuntimeError):  # keys of several types, tensors
        return State(False, "trained anew: its made_from is damaged")
    if not differences:
        bad = [] if read.checked else checkpoints.not_finite(read.content)
        if bad:
            return State(False, f"trained anew: it carries no checksum, and {bad[0]} is not finite")
        return State(True, "there already and up to date" + ("" if read.checked else ", unchecked: it has no checksum"))
    return State(False, f"trained anew: {differences}")


def is_done(job: Job, *, say: Callable[[str], None] = distributed.say) -> bool:
    """Whether the job's checkpoint is there and made from the same things; says so, or why it is not."""
    now = state(job)
    if now.done:
        job.progress_path.unlink(missing_ok=True)  # of a run killed between its last two steps
    if job.path.is_file():
        say(f"{job.path} is {now.says}")
    return now.done


def difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> str:
    """What changed between two nested mappings, as `lr: 0.1 -> 0.2`."""
    changes = []
    for key in sorted(set(old) | set(new)):
        was, now = old.get(key, "nothing"), new.get(key, "nothing")
        if isinstance(was, dict) and isinstance(now, dict):
            changes.append(difference(was, now, f"{prefix}{key}."))
        elif was != now:
            changes.append(f"{prefix}{key}: {was} -> {now}")
    return ", ".join(filter(None, changes))


def seconds_path(checkpoint: Path) -> Path:
    return checkpoint.with_name(checkpoint.name + ".seconds.json")


class _Seconds(Strict):
    seconds: NonNegativeFloat


def last_seconds(checkpoint: Path) -> float | None:
    """How long a checkpoint's training took, where that was written down. Raises UserError where that is damaged."""
    path = seconds_path(checkpoint)
    if not path.is_file():
        return None
    try:
        return config.parse(storage.read_json(path), _Seconds, source=str(path)).seconds
    except UserError:
        raise
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not readable JSON ({error}): move it away") from error
