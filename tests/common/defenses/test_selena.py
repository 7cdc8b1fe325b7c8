import numpy as np
import pytest
import torch

from common.defenses import base, selena
from common.defenses.selena import SelenaConfig, distillation_targets, left_out, teacher_job
from common.runtime import checkpoints
from common.runtime.errors import UserError
from common.runtime.images import to_float
from common.training.classifier import train_classifier
from tests.common.defenses import TRAINING, generator, make_task


def config(**settings):
    own = {"teachers": 3, "left_out": 2, "soft_labels": "probabilities"}
    return SelenaConfig(**(TRAINING | own | settings))


@pytest.fixture
def trained(monkeypatch):
    """The names of what was trained, in order."""
    names = []

    def train(job, *arguments, **options):
        names.append(job.path.name)
        return train_classifier(job, *arguments, **options)

    monkeypatch.setattr(selena, "train_classifier", train)  # of teachers
    monkeypatch.setattr(base, "train_classifier", train)  # of the student
    return names


TEACHERS = ["00.pth.tar", "01.pth.tar", "02.pth.tar"]


def test_each_member_is_left_out_as_numpys_legacy_generator_draws_it():
    unseen = left_out(50, config(teachers=25, left_out=10), seed=0)
    assert unseen.dtype == bool
    assert (unseen.sum(axis=1) == 10).all()
    np.random.seed(0)
    for row in unseen:
        assert set(np.flatnonzero(row)) == set(np.random.choice(25, 10, replace=False))


def test_a_teacher_learns_from_the_members_that_are_not_left_out(tmp_path, monkeypatch):
    task = make_task(tmp_path, config())
    unseen = torch.zeros(20, dtype=torch.bool)
    unseen[[0, 3, 19]] = True
    shares = []
    monkeypatch.setattr(selena, "train_classifier", lambda job, classifier, data, *a, **o: shares.append(data))
    selena.train_teacher(task, 0, unseen)
    seen = [i for i in range(20) if i not in (0, 3, 19)]
    assert torch.equal(shares[0].images, task.members.images[seen])
    assert torch.equal(shares[0].labels, task.members.labels[seen])


@pytest.mark.parametrize("soft_labels", ["probabilities", "logits"])
def test_a_soft_label_is_the_mean_answer_of_the_teachers_that_never_saw_the_member(tmp_path, soft_labels):
    task = make_task(tmp_path, config(soft_labels=soft_labels, learning_rate=0.05))
    selena.train(task)
    np.random.seed(0)
    unseen = [np.random.choice(3, 2, replace=False) for _ in range(20)]
    assert len({frozenset(row) for row in unseen}) == 3  # every pair of teachers answers for somebody
    teachers = [task.new_classifier(9).eval() for _ in TEACHERS]
    for index, teacher in enumerate(teachers):
        teacher.network.load_state_dict(
            checkpoints.read(teacher_job(task, index).path, expect={}).content["state_dict"]
        )
    expected = []
    for image, row in zip(task.members.images, unseen, strict=True):
        answers = [teachers[index](to_float(image[None]))[0].detach() for index in row]
        if soft_labels == "probabilities":
            expected.append(sum(answer.softmax(dim=0) for answer in answers) / 2)
        else:
            expected.append((sum(answers) / 2).softmax(dim=0))
    targets = distillation_targets(task, torch.from_numpy(left_out(20, task.config, seed=0)))
    torch.testing.assert_close(targets, torch.stack(expected))


def test_the_student_is_trained_on_the_soft_labels_and_not_on_the_true_ones(tmp_path, monkeypatch):
    task = make_task(tmp_path, config(learning_rate=1e-9, batch_size=20))
    target = torch.tensor([0.2, 0.3, 0.5])
    monkeypatch.setattr(selena, "distillation_targets", lambda task, unseen: target.expand(20, 3))
    selena.train(task)
    logged = float(task.job.log_path.read_text().splitlines()[1].split(",")[1])
    answers = task.new_classifier(0).train()(to_float(task.members.images)).log_softmax(dim=1)
    assert logged == pytest.approx(-(target * answers).sum(dim=1).mean().item(), rel=1e-5)


@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
def test_the_distillation_has_the_gradient_of_the_divergence(tmp_path, monkeypatch, reduction):
    task = make_task(tmp_path, config(kl_reduction=reduction))
    targets = torch.rand(20, 3, generator=generator()).softmax(dim=1)
    monkeypatch.setattr(selena, "distillation_targets", lambda task, unseen: targets)
    losses = []
    monkeypatch.setattr(selena, "train_classifier", lambda *a, **o: None)
    monkeypatch.setattr(base, "train_classifier", lambda *a, loss, **o: losses.append(loss))
    selena.train(task)
    logits, indices = torch.randn(4, 3, generator=generator()).requires_grad_(), torch.tensor([17, 4, 0, 9])
    (ours,) = torch.autograd.grad(losses[-1](logits, None, indices, 0), logits)
    divergence = torch.nn.KLDivLoss(reduction=reduction)(logits.log_softmax(dim=1), targets[indices])
    torch.testing.assert_close(ours, torch.autograd.grad(divergence, logits)[0])


def test_soft_labels_go_to_the_member_they_belong_to(tmp_path, monkeypatch):
    task = make_task(tmp_path, config())
    targets = torch.rand(20, 3, generator=generator())
    monkeypatch.setattr(selena, "distillation_targets", lambda task, unseen: targets)
    losses = []
    monkeypatch.setattr(selena, "train_classifier", lambda *a, **o: None)
    monkeypatch.setattr(base, "train_classifier", lambda *a, loss, **o: losses.append(loss))
    selena.train(task)
    logits, indices = torch.zeros(2, 3), torch.tensor([17, 4])
    expected = (targets[17].sum() + targets[4].sum()) * torch.log(torch.tensor(3.0)) / 2
    torch.testing.assert_close(losses[-1](logits, None, indices, 0), expected)


def test_a_teacher_that_is_there_is_not_trained_again(tmp_path, trained):
    task = make_task(tmp_path, config())
    selena.train(task)
    task.job.path.unlink()
    teacher_job(task, 1).path.unlink()
    selena.train(task)
    assert trained == [*TEACHERS, "defense.pth.tar", "01.pth.tar", "defense.pth.tar"]


def test_teachers_that_made_room_for_those_of_another_seed_come_back(tmp_path, trained):
    first, other = (make_task(tmp_path, config(), seed=seed) for seed in (0, 1))
    selena.train(first)
    first.job.path.unlink()  # as if it had been stopped after its teachers
    selena.train(other)
    trained.clear()
    selena.train(first)
    assert trained == ["defense.pth.tar"]
    selena.train(other)
    assert trained == 2 * ["defense.pth.tar"]


def test_only_a_change_that_concerns_the_teachers_trains_them_again(tmp_path, trained):
    selena.train(make_task(tmp_path, config()))
    trained.clear()
    selena.train(make_task(tmp_path, config(soft_labels="logits")))
    assert trained == ["defense.pth.tar"]
    for change in ({"epochs": 2}, {"left_out": 1}):
        trained.clear()
        selena.train(make_task(tmp_path, config(**change)))
        assert trained == [*TEACHERS, "defense.pth.tar"]


def test_teachers_differ(tmp_path):
    task = make_task(tmp_path, config(learning_rate=1e-9))
    selena.train(task)
    weights = [
        checkpoints.read(teacher_job(task, i).path, expect={}).content["state_dict"]["conv1.weight"] for i in range(3)
    ]
    assert not torch.allclose(weights[0], weights[1]) and not torch.allclose(weights[1], weights[2])


def test_a_foreign_teacher_is_not_overwritten(tmp_path):
    task = make_task(tmp_path, config())
    path = teacher_job(task, 0).path
    path.parent.mkdir()
    torch.save({"state_dict": {}}, path)
    with pytest.raises(UserError, match=r"00\.pth\.tar was not trained here"):
        selena.train(task)


def test_some_teacher_must_see_each_member():
    with pytest.raises(ValueError, match="smaller than teachers"):
        config(left_out=3)
