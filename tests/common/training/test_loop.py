import math
from contextlib import nullcontext

import pytest
import torch

from common.runtime import checkpoints
from common.runtime.errors import UserError
from common.training.jobs import state
from tests.common.training import job_at, scored_run


@pytest.mark.parametrize(
    ("scores", "best"), [([math.nan, 0.2, 0.1], 2), ([0.3, math.nan, 0.2], 1), ([math.nan] * 2, 1)]
)
def test_a_score_that_is_no_number_is_the_least(tmp_path, scores, best):
    left, _ = scored_run(job_at(tmp_path), scores)
    assert (left["weight"].item(), left["epoch"]) == (best, best)


@pytest.mark.parametrize(
    "damage",
    [
        lambda progress: progress.pop("best"),
        lambda progress: progress.pop("seconds"),
        lambda progress: progress["state"].pop("counter"),
        lambda progress: progress["state"].update(counter={}),
        lambda progress: progress["state"].update(counter={"weight": torch.zeros(2, 2)}),
        lambda progress: progress["state"].update(counter=3),
    ],
)
def test_progress_that_lacks_what_a_training_saves_is_refused_by_name(tmp_path, damage):
    job = job_at(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        scored_run(job, [0.1, 0.2, 0.3], stop_in=2)
    progress = checkpoints.read(job.progress_path, expect={}).content
    damage(progress)
    checkpoints.save(job.progress_path, progress)
    with pytest.raises(UserError, match=r"pth\.tar\.progress"):
        scored_run(job, [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.1, 0.7, 0.5], 2), ([0.7, 0.2, 0.7], 1), ([0.1, 0.5, 0.5], 2), ([0.0, 0.0], 1), ([-3.0, -2.0], 2)],
)
def test_the_first_of_the_best_rounds_is_kept(tmp_path, scores, best):
    left, _ = scored_run(job_at(tmp_path), scores)
    assert (left["weight"].item(), left["epoch"], left["best_acc"]) == (best, best, scores[best - 1])


def test_the_last_round_is_kept_where_nothing_selects(tmp_path):
    left, _ = scored_run(job_at(tmp_path), [], rounds=4)
    assert (left["weight"].item(), left["epoch"], left["best_acc"]) == (4, 4, None)


def test_a_run_leaves_checkpoint_log_and_seconds_and_nothing_else(tmp_path):
    job = job_at(tmp_path)
    scored_run(job, [0.5, 0.25])
    assert {path.name for path in tmp_path.iterdir()} == {job.path.name, job.log_path.name, job.seconds_path.name}
    assert job.log_path.read_text() == "round,loss,score\n1,1.0,0.5\n2,0.5,0.25\n"


@pytest.mark.parametrize("stop_in", range(4))
def test_a_resumed_run_does_not_repeat_what_was_saved_nor_forget_the_best(tmp_path, stop_in):
    job, scores = job_at(tmp_path), [0.1, 0.9, 0.3, 0.9]
    with pytest.raises(KeyboardInterrupt):
        scored_run(job, scores, stop_in=stop_in)
    assert not job.path.exists()
    shown = job.growing_log_path.read_text().splitlines()[1:] if stop_in else []
    assert [row.split(",")[0] for row in shown] == [str(number + 1) for number in range(stop_in)]
    left, played = scored_run(job, scores)
    assert not job.growing_log_path.exists() and job.log_path.read_text().splitlines()[1 : stop_in + 1] == shown
    assert played == list(range(stop_in, 4))
    assert (left["weight"].item(), left["epoch"], left["best_acc"]) == (2, 2, 0.9)
    assert len(job.log_path.read_text().splitlines()) == 5


@pytest.mark.parametrize("other_stops", [None, 1])
def test_progress_of_other_settings_is_put_aside_and_goes_on_when_they_are_back(tmp_path, capsys, other_stops):
    """Whether the other training is done meanwhile, or is half done itself."""
    first, other, scores = job_at(tmp_path, seed=0), job_at(tmp_path, seed=1), [0.1, 0.2, 0.3]
    with pytest.raises(KeyboardInterrupt):
        scored_run(first, scores, stop_in=2)
    rows = first.growing_log_path.read_text()
    assert state(other).says == "not there; one of other settings is half done, and is put aside"
    with pytest.raises(KeyboardInterrupt) if other_stops else nullcontext():
        left, played = scored_run(other, scores, stop_in=other_stops)
        assert played == [0, 1, 2] and left["weight"].item() == 3
    assert "other settings or data: kept in" in capsys.readouterr().out
    assert state(first).says == ("begun, goes on where it stopped" if other_stops else "trained anew: seed: 1 -> 0")
    first.events_path.mkdir()
    left, played = scored_run(first, scores)
    assert played == [2] and left["weight"].item() == 3
    assert first.log_path.read_text().startswith(rows)
    assert not first.events_path.exists()  # those of the other, which this training would go on with
    assert scored_run(other, scores)[1] == [1, 2] if other_stops else state(first).done
    assert not list(tmp_path.glob("*.progress*"))


def test_damaged_progress_of_another_training_keeps_none_from_its_place(tmp_path):
    first, other, scores = job_at(tmp_path, seed=0), job_at(tmp_path, seed=1), [0.1, 0.2, 0.3]
    for job in (first, other):
        with pytest.raises(KeyboardInterrupt):
            scored_run(job, scores, stop_in=2)
    data = bytearray(other.progress_path.read_bytes())
    data[len(data) // 2] ^= 4
    other.progress_path.write_bytes(data)
    assert scored_run(first, scores)[1] == [2]
