import dataclasses

import torch

from common.defenses import DEFENSES
from common.defenses.base import unwrapped
from common.defenses.undefended import DEFENSE
from common.runtime import checkpoints
from common.runtime.images import to_float
from common.training.classifier import TrainingConfig
from tests.common.defenses import TRAINING, make_task, samples


def config(**settings):
    return TrainingConfig(**(TRAINING | settings))


def trained(task):
    DEFENSE.train(task)
    return checkpoints.read(task.job.path, expect={"state_dict": dict}).content


def test_one_step_goes_down_the_cross_entropy_of_the_members(tmp_path):
    """Adam's first step is the learning rate against the sign of the gradient."""
    task = make_task(tmp_path, config(batch_size=20, weight_decay=0.0))
    classifier = task.new_classifier(task.seed).train()
    logits = classifier(to_float(task.members.images))
    of_labels = logits.log_softmax(dim=1)[torch.arange(20), task.members.labels]
    (-of_labels.mean()).backward()
    weights = trained(task)["state_dict"]
    for name, parameter in classifier.network.named_parameters():
        clear = parameter.grad.abs() > 1e-4  # where the gradient is next to 0 its sign is rounding
        assert clear.any()
        expected = parameter.detach() - 1e-3 * parameter.grad.sign()
        torch.testing.assert_close(weights[name][clear], expected[clear], rtol=0, atol=2e-6)


def test_only_members_are_learnt_from(tmp_path):
    task = make_task(tmp_path / "one", config(epochs=2))
    other = dataclasses.replace(
        make_task(tmp_path / "other", config(epochs=2)),
        reference=samples(12, seed=9),
        tuning_members=samples(4, seed=8),
    )
    trained(task), trained(other)
    assert task.job.path.read_bytes() == other.job.path.read_bytes()


def test_it_learns_its_members_by_heart(tmp_path):
    task = make_task(tmp_path, config(epochs=60, learning_rate=0.01))
    trained(task)
    first, *_, last = task.job.log_path.read_text().splitlines()[1:]
    assert float(first.split(",")[2]) < 0.7 and float(last.split(",")[2]) > 0.9


def test_the_selection_picks_the_epoch(tmp_path):
    selection = samples(12, seed=2)
    task = dataclasses.replace(make_task(tmp_path, config(epochs=5, learning_rate=0.01)), selection=selection)
    state = trained(task)
    scores = [float(line.split(",")[-1]) for line in task.job.log_path.read_text().splitlines()[1:]]
    assert len(set(scores)) > 1
    assert state["best_acc"] == max(scores) and state["epoch"] == scores.index(max(scores)) + 1
    classifier = task.new_classifier(9).eval()
    classifier.network.load_state_dict(state["state_dict"])
    accuracy = (classifier(to_float(selection.images)).argmax(dim=1) == selection.labels).double().mean().item()
    assert accuracy == state["best_acc"]


def test_it_is_the_plain_classifier_with_nothing_round_it():
    assert DEFENSES["undefended"] is DEFENSE
    assert DEFENSE.wrap is unwrapped and not DEFENSE.group_norm and not DEFENSE.needs_undefended
