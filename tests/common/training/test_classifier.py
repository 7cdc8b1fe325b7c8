import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from common.runtime.images import Labelled, to_float
from common.training import classifier
from common.training.classifier import TrainingConfig, shuffled_batches, train_classifier
from tests.common.defenses import TRAINING, generator, new_classifier, samples
from tests.common.training import job_at

ROUNDS = 5


def config(**settings):
    return TrainingConfig(**(TRAINING | {"epochs": ROUNDS} | settings))


@given(st.integers(1, 300), st.integers(1, 60), st.integers(0, 3))
def test_batches_take_each_index_once_and_are_of_nearly_equal_size(count, batch_size, seed):
    batches = shuffled_batches(count, batch_size, generator=generator(seed))
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    assert (
        len(batches)
        == classifier.num_batches(count, batch_size)
        == min(n for n in range(301) if n * batch_size >= count)
    )


def test_the_order_is_drawn():
    orders = [torch.cat(shuffled_batches(50, 8, generator=generator(seed))).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != list(range(50))


def test_a_batch_holds_images_labels_and_where_they_are_from():
    data = samples(10)
    for images, labels, indices in classifier.batches(data, 4, generator=generator()):
        assert torch.equal(images, to_float(data.images[indices]))
        assert torch.equal(labels, data.labels[indices])


class Parrot(nn.Module):
    """Answers with the pixels of a row, unless it is training, and keeps how many images it got at once."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, x):
        self.asked.append(len(x))
        return x[:, 0, 0, :3] * (0.0 if self.training else 1.0)


@pytest.mark.parametrize(
    ("count", "size", "asked"),
    [
        (1001, (8, 8), [1000, 1]),
        (1001, (32, 32), [1000, 1]),
        (30, (218, 178), [26, 4]),
        (2, (1100, 1100), [1, 1]),
    ],
)
def test_answers_come_in_order_in_evaluation_mode_and_fewer_at_once_of_larger_images(count, size, asked):
    images, parrot = torch.randint(256, (count, 1, *size), generator=generator()).to(torch.uint8), Parrot().train()
    assert torch.equal(classifier.answer(parrot, images), to_float(images)[:, 0, 0, :3])
    assert parrot.asked == asked


def test_accuracy_is_the_share_of_right_labels():
    images = torch.zeros(4, 1, 1, 3, dtype=torch.uint8)
    for image, label in zip(images, [0, 1, 2, 2], strict=True):
        image[0, 0, label] = 200
    assert classifier.accuracy(Parrot(), Labelled(images, torch.tensor([0, 1, 2, 0]))) == 0.75


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
    original, calls = getattr(classifier, name), []

    def stop(*arguments):
        calls.append(arguments)
        if len(calls) > stop_in * calls_per_round:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(classifier, name, stop)


@pytest.mark.parametrize("selection", [None, samples(9, seed=2)], ids=["last", "selected"])
@pytest.mark.parametrize("stop_in", [0, 1, 4])
def test_an_interrupted_training_ends_with_the_bytes_of_an_uninterrupted_one(tmp_path, monkeypatch, selection, stop_in):
    whole = trained(tmp_path / "whole", selection=selection)
    resumed = trained(tmp_path / "resumed", selection=selection, stop_in=stop_in, monkeypatch=monkeypatch)
    assert resumed == whole
    assert trained(tmp_path / "other", selection=selection, seed=1) != whole


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("stop_in", range(1, ROUNDS))
def test_so_does_one_by_sgd_with_a_schedule_and_augmentation(tmp_path, monkeypatch, momentum, stop_in):
    stepped = {"schedule": "step", "milestones": [2, 4], "factor": 0.5, "augmentation": "crop_flip"}
    settings = {"optimizer": "sgd", "momentum": momentum, **stepped}
    whole = trained(tmp_path / "whole", selection=None, **settings)
    stopped = trained(tmp_path / "part", selection=None, stop_in=stop_in, monkeypatch=monkeypatch, **settings)
    assert stopped == whole


def test_training_learns(tmp_path):
    trained(tmp_path, selection=None, epochs=25, learning_rate=0.02)
    rows = [row.split(",") for row in job_at(tmp_path).log_path.read_text().splitlines()]
    assert rows[0] == ["round", "loss", "train_accuracy"]
    assert float(rows[-1][1]) < 0.7 * float(rows[1][1])
    assert float(rows[-1][2]) > float(rows[1][2])


def test_the_loss_of_a_batch_knows_where_it_is_from_and_when(tmp_path):
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
