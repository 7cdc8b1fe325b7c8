"""What a training is to leave behind, and how finished work is recognised."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from common.runtime import checkpoints, config, distributed, storage
from common.runtime.config import NonNegativeFloat, Strict
from common.runtime.errors import UserError
from common.runtime.modes import OriginalSettings, Precision
from common.training import aside


def _of_weights(ddpm: Any) -> Any:
    """A diffusion model's configuration without what its weights do not depend on: that of its pictures."""
    if not isinstance(ddpm, dict) or not isinstance(ddpm.get("training"), dict):
        return ddpm
    return {**ddpm, "training": {name: value for name, value in ddpm["training"].items() if name != "sample_steps"}}


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
    ddpm: Annotated[dict[str, Any] | None, AfterValidator(_of_weights)] = None
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
        if there not in (None, self.key):
            aside.put(self.files, key=there)
            distributed.say(f"{self.path.name} that was there is kept in {aside.place(self.path, there).parent}")

    def take_back(self) -> None:
        """Put this job's checkpoint in its place again, where it was moved aside. Of several processes one may."""
        if not state(self).done and aside.place(self.path, self.key).is_file():
            self.make_room()
            aside.take_back(self.files, key=self.key)

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
        begun = job.progress_path.is_file() or aside.place(job.progress_path, job.key).is_file()
        return State(False, "begun, goes on where it stopped" if begun else "not there")
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
    found = _as_now(found)
    try:
        differences = "" if found == wanted else difference(found, wanted)
    except (TypeError, ValueError, RuntimeError):  # keys of several types, tensors
        return State(False, "trained anew: its made_from is damaged")
    if not differences:
        bad = [] if read.checked else checkpoints.not_finite(read.content)
        if bad:
            return State(False, f"trained anew: it carries no checksum, and {bad[0]} is not finite")
        return State(True, "there already and up to date" + ("" if read.checked else ", unchecked: it has no checksum"))
    if aside.place(job.path, job.key).is_file():
        return State(False, "put aside for the one of before, which comes back")
    return State(False, f"trained anew: {differences}")


def _key_at(path: Path) -> str | None:
    """Of a finished checkpoint of this project; None where there is none, or it is damaged."""
    try:
        found = checkpoints.read(path, expect={}).content.get("made_from")
        return storage.digest(_as_now(found)) if isinstance(found, dict) else None
    except (UserError, OSError, TypeError, ValueError):
        return None


def _as_now(made_from: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint of before says, as it is said now."""
    return {**made_from, "ddpm": _of_weights(made_from["ddpm"])} if "ddpm" in made_from else made_from


def is_done(job: Job, *, say: Callable[[str], None] = distributed.say) -> bool:
    """Whether the job's checkpoint is there and made from the same things; says so, or why it is not."""
    now = state(job)
    if now.done:
        job.clear()  # of a run killed between its last two steps
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
