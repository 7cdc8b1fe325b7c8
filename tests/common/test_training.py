import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from common import training
from common.config import TrainingConfig
from common.datasets import to_float
from common.errors import UserError
from common.storage import load_checkpoint, save_checkpoint
from common.training import Job, Labelled, is_done, run_rounds, shuffled_batches, train_classifier
from tests.common.defenses import TRAINING, generator, new_classifier, samples

ROUNDS = 5


def config(**settings):
    return TrainingConfig(**(TRAINING | {"epochs": ROUNDS} | settings))


def job_at(folder, **made_from):
    return Job(folder / "classifier.pth.tar", made_from or {"seed": 0})


@given(st.integers(1, 300), st.integers(1, 60), st.integers(0, 3))
def test_batches_take_each_index_once_and_are_of_nearly_equal_size(count, batch_size, seed):
    batches = shuffled_batches(count, batch_size, generator=generator(seed))
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    assert (
        len(batches) == training.num_batches(count, batch_size) == min(n for n in range(301) if n * batch_size >= count)
    )


def test_the_order_is_drawn():
    orders = [torch.cat(shuffled_batches(50, 8, generator=generator(seed))).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != list(range(50))


def test_a_batch_holds_images_labels_and_where_they_are_from():
    data = samples(10)
    for images, labels, indices in training.batches(data, 4, generator=generator()):
        assert torch.equal(images, to_float(data.images[indices]))
        assert torch.equal(labels, data.labels[indices])


class Parrot(nn.Module):
    """Answers with the pixels of a row, unless it is training."""

    def forward(self, x):
        return x[:, 0, 0, :3] * (0.0 if self.training else 1.0)


def test_answers_come_in_order_in_evaluation_mode_whatever_the_batch():
    images = samples(10).images
    for batch_size in (1, 4, 10, 1000):
        answers = training.answer(Parrot().train(), images, batch_size=batch_size)
        assert torch.equal(answers, to_float(images)[:, 0, 0, :3])


def test_accuracy_is_the_share_of_right_labels():
    images = torch.zeros(4, 1, 1, 3, dtype=torch.uint8)
    for image, label in zip(images, [0, 1, 2, 2], strict=True):
        image[0, 0, label] = 200
    assert training.accuracy(Parrot(), Labelled(images, torch.tensor([0, 1, 2, 0]))) == 0.75


def scored_run(job, scores, *, stop_in=None, rounds=None):
    """A training that counts its rounds, each with its score; a user interrupts it in round ``stop_in``."""
    counter = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(counter.weight)
    played = []

    def train_round(index, bar):
        played.append(index)
        with torch.no_grad():
            counter.weight += 1
        bar.update()
        return {"loss": 1 / (index + 1)}

    def score():
        if played[-1] == stop_in:
            raise KeyboardInterrupt
        return scores[played[-1]]

    run_rounds(
        job,
        seed=0,
        rounds=rounds or len(scores),
        steps_per_round=1,
        stateful={"counter": counter},
        train_round=train_round,
        score=score if scores else None,
        kept=lambda: {"weight": counter.weight},
    )
    return load_checkpoint(job.path, expect={}), played


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
    progress = load_checkpoint(job.progress_path, expect={})
    damage(progress)
    save_checkpoint(job.progress_path, progress)
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
    left, played = scored_run(job, scores)
    assert played == list(range(stop_in, 4))
    assert (left["weight"].item(), left["epoch"], left["best_acc"]) == (2, 2, 0.9)
    assert len(job.log_path.read_text().splitlines()) == 5


def test_progress_of_other_settings_is_not_resumed(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        scored_run(job_at(tmp_path, seed=0), [0.1, 0.2, 0.3], stop_in=2)
    left, played = scored_run(job_at(tmp_path, seed=1), [0.1, 0.2, 0.3])
    assert played == [0, 1, 2]
    assert left["weight"].item() == 3
    assert "other settings or data" in capsys.readouterr().out


def trained(folder, *, selection, stop_in=None, monkeypatch=None, seed=0, **settings):
    """Train a classifier, interrupted once where asked, and give the bytes it leaves, but for the time it took."""
    job, data = job_at(folder), samples(20, seed=1)

    def run():
        train_classifier(job, new_classifier(seed), data, config(**settings), selection=selection, seed=seed)

    if stop_in is not None:
        interrupt(monkeypatch, stop_in, after_training=selection is not None)
        with pytest.raises(KeyboardInterrupt):
            run()
        monkeypatch.undo()
        assert job.progress_path.exists() == (stop_in > 0)
    run()
    return {path.name: path.read_bytes() for path in (job.path, job.log_path)}


def interrupt(monkeypatch, stop_in, *, after_training):
    """Raise out of the score of a round, or where nothing is scored in the middle of its batches."""
    name = "accuracy" if after_training else "to_float"
    calls_per_round = 1 if after_training else 3
    original, calls = getattr(training, name), []

    def stop(*arguments):
        calls.append(arguments)
        if len(calls) > stop_in * calls_per_round:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(training, name, stop)


@pytest.mark.parametrize("selection", [None, samples(9, seed=2)], ids=["last", "selected"])
@pytest.mark.parametrize("stop_in", [0, 1, 4])
def test_an_interrupted_training_ends_with_the_bytes_of_an_uninterrupted_one(tmp_path, monkeypatch, selection, stop_in):
    whole = trained(tmp_path / "whole", selection=selection)
    resumed = trained(tmp_path / "resumed", selection=selection, stop_in=stop_in, monkeypatch=monkeypatch)
    assert resumed == whole
    assert trained(tmp_path / "other", selection=selection, seed=1) != whole


def test_training_learns(tmp_path):
    trained(tmp_path, selection=None, epochs=25, learning_rate=0.02)
    rows = [row.split(",") for row in job_at(tmp_path).log_path.read_text().splitlines()]
    assert rows[0] == ["round", "loss", "train_accuracy"]
    assert float(rows[-1][1]) < 0.7 * float(rows[1][1])
    assert float(rows[-1][2]) > float(rows[1][2])


def test_the_loss_of_a_batch_is_told_where_it_is_from_and_when(tmp_path):
    data, seen = samples(20), []

    def loss(logits, labels, indices, epoch):
        assert torch.equal(labels, data.labels[indices])
        seen.append((epoch, indices.tolist()))
        return logits.sum()

    train_classifier(job_at(tmp_path), new_classifier(), data, config(epochs=2), selection=None, seed=0, loss=loss)
    assert [epoch for epoch, _ in seen] == [0, 0, 0, 1, 1, 1]
    orders = [[row for epoch, rows in seen if epoch == which for row in rows] for which in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert orders[0] != orders[1]


MADE_FROM = {"seed": 0, "settings": {"lr": 0.1, "blocks": (1, 2)}}


def told(job):
    """What is_done says, and its verdict."""
    said = []
    return is_done(job, say=said.append), "".join(said)


def test_finished_work_is_recognised(tmp_path):
    job = job_at(tmp_path, **MADE_FROM)
    assert told(job) == (False, "")
    scored_run(job, [0.5])
    assert told(job) == (True, f"{job.path} is there already and up to date")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"settings": {"lr": 0.2, "blocks": (1, 2)}}, "settings.lr: 0.1 -> 0.2"),
        ({"settings": {"lr": 0.1}}, "settings.blocks: (1, 2) -> nothing"),
        ({"seed": 3, "data": "x"}, "data: nothing -> x, seed: 0 -> 3"),
    ],
)
def test_what_changed_since_is_said(tmp_path, change, said):
    scored_run(job_at(tmp_path, **MADE_FROM), [0.5])
    job = job_at(tmp_path, **(MADE_FROM | change))
    assert told(job) == (False, f"{job.path} is trained anew: {said}")


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"state_dict": {}, "made_from": "elsewhere"}])
def test_a_checkpoint_from_elsewhere_is_refused_and_left_alone(tmp_path, content):
    job = job_at(tmp_path)
    torch.save(content, job.path)
    before = job.path.read_bytes()
    with pytest.raises(UserError, match="was not trained here and will not be overwritten"):
        is_done(job)
    assert job.path.read_bytes() == before
