"""What there is to see of a training while it goes on, beside its log: pictures now and then, and TensorBoard's events.

Nothing that a training leaves as its result depends on it.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from common.runtime.errors import UserError
from common.training.jobs import Job

FIRST = 60.0  # seconds of training before the first pictures; a shorter training has none but the last
SHARE = 20  # from then on the training takes at least so many times as long as the pictures

Show = Callable[[], Sequence[Path]]
"""Draws PNG files of where a training stands; their paths."""


def require_tensorboard() -> None:
    """Raise UserError where TensorBoard's package is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError(
            "--tensorboard needs TensorBoard: `pip install -r requirements-tensorboard.txt` in the repository"
        )


class Watcher:
    """Told of every round, the last one included."""

    def __init__(self, writer: Any, show: Show | None) -> None:
        self.writer, self.show = writer, show
        self.due = time.monotonic() + FIRST

    def round(self, row: Mapping[str, Any], stateful: Mapping[str, Any], *, last: bool) -> None:
        """A round's measurements, the learning rates of its optimisers, and perhaps pictures."""
        rates = {
            f"learning rate/{name}": thing.param_groups[0]["lr"]
            for name, thing in stateful.items()
            if isinstance(thing, torch.optim.Optimizer)
        }
        if self.writer is not None:
            _add(self.writer, row, rates)
        shown_elsewhere = last and self.writer is None  # by whoever started the training
        if self.show is not None and not shown_elsewhere and (last or time.monotonic() >= self.due):
            self._draw(self.show, row["round"])
        if self.writer is not None:
            self.writer.flush()

    def _draw(self, show: Show, number: int) -> None:
        start = time.monotonic()
        paths = show()
        self.due = time.monotonic() + max(FIRST, SHARE * (time.monotonic() - start))
        if self.writer is not None:
            from matplotlib.image import imread

            for path in paths:
                self.writer.add_image(path.stem, imread(path)[..., :3], number, dataformats="HWC")


def _add(writer: Any, row: Mapping[str, Any], rates: Mapping[str, float]) -> None:
    for name, value in {**row, **rates}.items():
        if name != "round":
            writer.add_scalar(name, value, row["round"])


@contextmanager
def watched(job: Job, history: Sequence[Mapping[str, Any]], show: Show | None) -> Iterator[Watcher]:
    """A watcher of a training that has these rounds behind it.

    Rounds of which a killed run had told TensorBoard before it could save them are taken back. Events of another
    training of the same job make room for those of this one.
    """
    if not job.tensorboard:
        yield Watcher(None, show)
        return
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    if not history:
        shutil.rmtree(job.events_path, ignore_errors=True)
    new = not job.events_path.is_dir()
    with SummaryWriter(job.events_path, purge_step=len(history) + 1) as writer:
        for row in history if new else ():
            _add(writer, row, {})
        yield Watcher(writer, show)
