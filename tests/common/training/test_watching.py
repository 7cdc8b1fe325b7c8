"""What is shown of a training while it goes on: when pictures are drawn, and what TensorBoard is told."""

import contextlib
import dataclasses

import pytest
import torch

from common.runtime.errors import UserError
from common.training import loop, watching
from common.training.watching import FIRST, SHARE, Watcher, require_tensorboard
from tests.common.training import job_at, scored_run


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(watching.time, "monotonic", lambda: Clock.now)
    return Clock


def watched_rounds(clock, *, rounds, seconds, cost):
    """The rounds, each of so many seconds, in which pictures were drawn that take ``cost`` seconds."""
    drawn = []

    def show():
        drawn.append(number)
        clock.now += cost
        return []

    watcher = Watcher(None, show)
    for number in range(1, rounds + 1):
        clock.now += seconds
        watcher.round({"round": number, "loss": 1.0}, {}, last=number == rounds)
    return drawn


def test_a_short_training_draws_no_pictures_on_its_way(clock):
    assert watched_rounds(clock, rounds=5, seconds=FIRST / 6, cost=1) == []


def test_pictures_come_after_a_minute_and_take_a_small_share_of_the_time(clock):
    assert watched_rounds(clock, rounds=10, seconds=FIRST / 2, cost=0) == [2, 4, 6, 8]  # the last is drawn elsewhere
    clock.now = 0.0
    drawn = watched_rounds(clock, rounds=100, seconds=FIRST, cost=FIRST)
    assert drawn == [1, 1 + SHARE, 1 + 2 * SHARE, 1 + 3 * SHARE, 1 + 4 * SHARE]


def told(job):
    """What TensorBoard would show of a training: tag -> steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(job.events_path))
    events.Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def with_events(folder):
    pytest.importorskip("tensorboard", reason="requirements-tensorboard.txt")
    return dataclasses.replace(job_at(folder), tensorboard=True)


@pytest.mark.parametrize("killed", [False, True])
def test_tensorboard_is_told_of_each_round_once(tmp_path, monkeypatch, killed):
    job, scores = with_events(tmp_path), [0.1, 0.9, 0.3, 0.5]
    if killed:  # after it had told of a round that it could not save any more
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(loop, "_save_progress", interrupted_after(2, loop._save_progress))
            scored_run(job, scores)
    scored_run(job, scores)
    assert told(job) == {"loss": [1, 2, 3, 4], "score": [1, 2, 3, 4]}


def interrupted_after(calls, work):
    """A function that works so many times, and is then interrupted."""
    left = [work] * calls

    def interrupted(*arguments, **options):
        if not left:
            raise KeyboardInterrupt
        left.pop()(*arguments, **options)

    return interrupted


def test_rounds_of_before_it_was_asked_for_are_told_too(tmp_path):
    job = with_events(tmp_path)
    with contextlib.suppress(KeyboardInterrupt):
        scored_run(dataclasses.replace(job, tensorboard=False), [0.1, 0.2, 0.3], stop_in=2)
    scored_run(job, [0.1, 0.2, 0.3])
    assert told(job)["loss"] == [1, 2, 3]


def test_another_training_of_the_same_name_begins_anew(tmp_path):
    job = with_events(tmp_path)
    scored_run(job, [0.1, 0.2, 0.3])
    scored_run(job, [0.5])
    assert told(job)["loss"] == [1]


def test_learning_rates_are_those_of_the_optimisers(clock):
    scalars = {}

    class Writer:
        def add_scalar(self, name, value, step):
            scalars[name, step] = value

        def flush(self):
            scalars["flushed"] = True

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.25)
    Watcher(Writer(), None).round(
        {"round": 7, "loss": 2.0}, {"net": torch.nn.Linear(1, 1), "sgd": optimizer}, last=False
    )
    assert scalars == {("loss", 7): 2.0, ("learning rate/sgd", 7): 0.25, "flushed": True}


def test_without_tensorboard_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(watching, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -r requirements-tensorboard\.txt"):
        require_tensorboard()
