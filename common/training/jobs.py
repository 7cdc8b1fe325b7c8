"""What a training is to leave behind, and how finished work is recognised."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.runtime import checkpoints, config, distributed, storage
from common.runtime.config import NonNegativeFloat, Strict
from common.runtime.errors import UserError
from common.training import aside
from common.training.provenance import NOT_SAID_BEFORE, Provenance, as_now, difference


@dataclass(frozen=True)
class Job:
    """A checkpoint to make at ``path``, recognised later by a digest of its provenance.

    tensorboard:  its training leaves TensorBoard's events beside it too
    """

    path: Path
    made_from: Provenance
    tensorboard: bool = False

    @property
    def key(self) -> str:
        return storage.digest(self.made_from.record())

    @property
    def keys(self) -> tuple[str, str]:
        """Its own, and the one that versions before gave the same job."""
        record = self.made_from.record()
        record.pop(NOT_SAID_BEFORE, None)
        return self.key, storage.digest(record)

    @property
    def progress_path(self) -> Path:
        return self.path.with_name(self.path.name + ".progress")

    @property
    def growing_log_path(self) -> Path:
        """The log of a training that is not done, for who wants to look."""
        return self.path.with_name(self.path.name + ".progress.csv")

    @property
    def log_path(self) -> Path:
        return log_path(self.path)

    @property
    def events_path(self) -> Path:
        """TensorBoard's folder of this training; `tensorboard --logdir DATASET` finds it."""
        return self.path.with_name(self.path.name + ".events")

    @property
    def seconds_path(self) -> Path:
        return seconds_path(self.path)

    @property
    def files(self) -> list[Path]:
        """Log, seconds and checkpoint."""
        return [self.log_path, self.seconds_path, self.path]

    def make_room(self) -> None:
        """Move another job's finished checkpoint that stands in the place aside."""
        there = _key_at(self.path)
        if there not in (None, *self.keys):
            aside.put(self.files, key=there)
            distributed.say(f"{self.path.name} that was there is kept in {aside.place(self.path, there).parent}")

    def take_back(self) -> None:
        """Put this job's checkpoint in its place again, where it was moved aside. Of several processes one may."""
        key = aside.found(self.path, self.keys)
        if key is not None and not state(self).done:
            self.make_room()
            aside.take_back(self.files, key=key)

    @property
    def title(self) -> str:
        """What is trained, as a progress bar names it: `selena, teacher 3 of 10`."""
        made_from = self.made_from
        if made_from.ddpm is not None:
            return "diffusion model"
        name = made_from.defense or self.path.name
        if made_from.teacher is None:
            return name
        of_all = (made_from.settings or {}).get("teachers")
        return f"{name}, teacher {made_from.teacher + 1}" + (f" of {of_all}" if of_all else "")

    def clear(self) -> None:
        """Remove what is only there while the job is not done."""
        self.growing_log_path.unlink(missing_ok=True)
        self.progress_path.unlink(missing_ok=True)


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
        return State(False, _half_done(job))
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
    found = as_now(found, wanted)
    try:
        differences = "" if found == wanted else difference(found, wanted)
    except (TypeError, ValueError, RuntimeError):  # keys of several types, tensors
        return State(False, "trained anew: its made_from is damaged")
    if not differences:
        bad = [] if read.checked else checkpoints.not_finite(read.content)
        if bad:
            return State(False, f"trained anew: it carries no checksum, and {bad[0]} is not finite")
        return State(True, "there already and up to date" + ("" if read.checked else ", unchecked: it has no checksum"))
    if aside.found(job.path, job.keys):
        return State(False, "put aside for the one of before, which comes back")
    return State(False, f"trained anew: {differences}")


def _half_done(job: Job) -> str:
    """What is there of a job whose checkpoint is not."""
    there = progress_key(job.progress_path) if job.progress_path.is_file() else None
    if there in job.keys or aside.found(job.progress_path, job.keys):
        return "begun, goes on where it stopped"
    return "not there" if there is None else "not there; one of other settings is half done, and is put aside"


def progress_key(progress: Path) -> str | None:
    """Of the job that a progress file is of; None where it is damaged."""
    try:
        return str(checkpoints.read(progress, expect={"key": str}).content["key"])
    except checkpoints.Damaged:
        return None


def _key_at(path: Path) -> str | None:
    """Of a finished checkpoint of this project; None where there is none, or it is damaged."""
    try:
        found = checkpoints.read(path, expect={}).content.get("made_from")
        return storage.digest(as_now(found)) if isinstance(found, dict) else None
    except (UserError, OSError, TypeError, ValueError):
        return None


def is_done(job: Job, *, say: Callable[[str], None] = distributed.say) -> bool:
    """Whether the job's checkpoint is there and made from the same things; says so, or why it is not.

    One that was moved aside is there again. Every process must come here.
    """
    if distributed.is_first():
        job.take_back()
    distributed.barrier()
    now = state(job)
    distributed.barrier()  # until every process has seen what is there
    if now.done:
        job.clear()  # of a run killed between its last two steps
    if job.path.is_file():
        say(f"{job.path} is {now.says}")
    return now.done


def log_path(checkpoint: Path) -> Path:
    return checkpoint.with_name(checkpoint.name + ".log.csv")


def seconds_path(checkpoint: Path) -> Path:
    return checkpoint.with_name(checkpoint.name + ".seconds.json")


class _Seconds(Strict):
    seconds: NonNegativeFloat


def teachers(checkpoint: Path) -> Path:
    """The folder of the checkpoints that a checkpoint learns from, where its defence trains some first."""
    return checkpoint.with_name(f"{checkpoint.name.split('.')[0]}.teachers")


def last_seconds(checkpoint: Path) -> float | None:
    """How long a checkpoint's training took, its teachers' included, where that was written down.

    Raises UserError where that is damaged.
    """
    own = _seconds_in(seconds_path(checkpoint))
    if own is None:
        return None
    return own + sum(_seconds_in(path) or 0.0 for path in sorted(teachers(checkpoint).glob("*.seconds.json")))


def _seconds_in(path: Path) -> float | None:
    if not path.is_file():
        return None
    try:
        return config.parse(storage.read_json(path), _Seconds, source=str(path)).seconds
    except UserError:
        raise
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not readable JSON ({error}): move it away") from error
