import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from common.defenses import memguard
from common.defenses.memguard import (
    DefenseClassifier,
    MemGuardConfig,
    MemGuardOutput,
    guard,
    mixing_probability,
    phase_one_loss,
)
from common.diffence import Diffence
from common.diffusion import Denoiser, linear_alpha_bar
from common.storage import load_checkpoint, save_checkpoint
from common.training import answer
from tests.common.defenses import TRAINING, generator, make_task, new_classifier
from tests.common.formula import fill, images


def config(**settings):
    own = {"c1": 1.0, "c2": 10.0, "c3_first": 0.1, "c3_last": 10.0, "max_steps": 30, "step_length": 0.1}
    return MemGuardConfig(**(TRAINING | own | {"distortion_budget": 1.0} | settings))


class Guess(nn.Module):
    """Takes an answer for a member's where its top probability is above a limit; logit [B]."""

    def __init__(self, limit=0.7):
        super().__init__()
        self.limit = limit

    def forward(self, z):
        p = z.softmax(dim=1)
        return 8 * (p[:, 0] - self.limit) + (p[:, 1] * p[:, 2] if p.shape[1] > 2 else 0)


def sorted_logits(count=24, num_classes=4, *, scale=2.0):
    return (scale * torch.randn(count, num_classes, generator=generator())).sort(dim=1, descending=True).values


def trained_guess(num_classes, limit=0.6):
    """A defence classifier of the real architecture that has learnt to do as Guess does."""
    guess = fill(DefenseClassifier(num_classes))
    z = sorted_logits(400, num_classes)
    member = (Guess(limit)(z) > 0).float()
    optimizer = torch.optim.Adam(guess.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(guess(z), member).backward()
        optimizer.step()
    return guess


@pytest.fixture(scope="module")
def guess():
    return trained_guess(4)


def distortion(a, b):
    return (a.softmax(dim=-1) - b.softmax(dim=-1)).abs().sum(dim=-1)


def test_the_loss_of_phase_one_by_hand():
    original = torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]).log()
    z = torch.tensor([[0.5, 0.3, 0.2], [0.25, 0.25 * torch.e, 0.75 - 0.25 * torch.e]]).log()  # the second flipped, by 1
    d = torch.tensor([-0.4, 1.5])
    loss = phase_one_loss(z, original, d, config(c1=2.0, c2=7.0), c3=3.0)
    moved = abs(0.25 - 0.7) + abs(0.25 * torch.e - 0.2) + abs(0.65 - 0.25 * torch.e)
    assert loss.tolist() == pytest.approx([2 * 0.4 + 3 * 0.4, 2 * 1.5 + 7 + 3 * moved])


def slow_guard(z, guess, config):
    """Phase I as the paper tells it, for one sample: its noisy logits, or None where there are none."""
    member = guess(z[None]).item() > 0
    success, c3 = None, config.c3_first
    while c3 < 1.001 * config.c3_last:
        moved = z.clone()
        for _ in range(config.max_steps):
            moved = moved.detach().requires_grad_(True)
            far = guess(moved[None])[0].abs()
            flip = (moved[1:].max() - moved[0]).clamp(min=0)
            loss = config.c1 * far + config.c2 * flip + c3 * distortion(moved, z)
            loss.backward()
            with torch.no_grad():
                moved = moved - config.step_length * moved.grad / moved.grad.norm()
            if (guess(moved[None]).item() > 0) != member and moved[0] > moved[1:].max():
                break
        else:
            return success
        success, c3 = moved, 10 * c3
    return success


def test_phase_one_is_what_the_paper_tells_sample_by_sample(guess):
    z = sorted_logits(30)
    noisy = guard(z, guess, config())
    expected = [slow_guard(row, guess, config()) for row in z]
    found = torch.tensor([row is not None for row in expected])
    assert 3 < found.sum() < 30  # both outcomes are met
    for row, own, slow in zip(z, noisy, expected, strict=True):
        torch.testing.assert_close(own, row if slow is None else slow, rtol=1e-4, atol=1e-4)


def test_a_larger_weight_of_the_distortion_is_tried_from_the_original_again(guess):
    z = sorted_logits(60)
    once, thrice = (guard(z, guess, config(c3_last=last)) for last in (0.1, 10.0))
    both = (once != z).any(dim=1)
    assert torch.equal(both, (thrice != z).any(dim=1))  # the first success is never lost
    assert not torch.equal(once, thrice)
    assert distortion(thrice, z)[both].mean() < distortion(once, z)[both].mean()


def test_the_success_before_the_first_failure_is_kept(guess, monkeypatch):
    """Four samples, three weights of the distortion: which succeed is given, and each moves by the weight."""
    script = {0.1: [True, True, False, True], 1.0: [True, False, True, True], 10.0: [False, True, True, True]}
    z, tried = torch.arange(4.0)[:, None] + torch.tensor([[9.0, 0.0]]), {}

    def descend(original, guess, config, *, c3):
        c3 = round(c3, 3)
        tried[c3] = rows = original[:, 1].long()
        assert torch.equal(original, z[rows])  # from the original again
        return original + c3, torch.tensor(script[c3])[rows]

    monkeypatch.setattr(memguard, "_descend", descend)
    noisy = guard(z, guess, config(c3_first=0.1, c3_last=10.0))
    torch.testing.assert_close(noisy - z, torch.tensor([1.0, 0.1, 0.0, 10.0])[:, None].expand(4, 2))
    assert {c3: rows.tolist() for c3, rows in tried.items()} == {0.1: [0, 1, 2, 3], 1.0: [0, 1, 3], 10.0: [0, 3]}


def test_a_batch_is_guarded_as_its_rows_are(guess):
    z = sorted_logits(40)
    together = guard(z, guess, config())
    alone = torch.cat([guard(row[None], guess, config()) for row in z])
    assert (together != z).any(dim=1).sum() > 5
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("limit", [0.5, 0.7, 0.9])
def test_where_noise_is_found_the_guess_changes_and_the_label_stays(limit):
    z, guess = sorted_logits(60), Guess(limit)
    noisy = guard(z, guess, config())
    found = (noisy != z).any(dim=1)
    member = guess(z) > 0
    assert (found & member).any() and (found & ~member).any()
    assert torch.equal(guess(noisy)[found] > 0, ~member[found])
    assert (noisy[:, 0] > noisy[:, 1:].amax(dim=1))[found].all()


def test_a_guess_that_cannot_be_misled_leaves_the_answer_as_it_is():
    z = sorted_logits()
    sure = lambda z: z.softmax(dim=1)[:, 0] + 1  # noqa: E731
    assert torch.equal(guard(z, sure, config()), z)


@pytest.mark.parametrize("budget", [0.0, 0.05, 0.3, 2.0])
def test_the_expected_distortion_keeps_to_the_budget(guess, budget):
    z = sorted_logits(60)
    noisy = guard(z, guess, config())
    probability = mixing_probability(z, noisy, guess, budget=budget)
    size = distortion(noisy, z)
    assert (probability * size <= budget + 1e-6).all()
    nearer = (guess(z).sigmoid() - 0.5).abs() > (guess(noisy).sigmoid() - 0.5).abs()
    assert nearer.any() and not nearer.all()
    spent = torch.where(size > budget, budget, size)  # all of the budget, or all of the noise
    torch.testing.assert_close((probability * size)[nearer], spent[nearer])
    assert (probability[~nearer] == 0).all()


def test_noise_that_helps_the_guess_is_never_used():
    z, noisy = torch.tensor([[2.0, 0.0]]).expand(2, 2), torch.tensor([[9.0, 0.0], [1.0, 0.0]])
    probability = mixing_probability(z, noisy, Guess(0.5), budget=2.0)
    assert probability.tolist() == [0, 1]


class Answers(nn.Module):
    """A classifier that has the same answers for any images."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, x):
        return self.logits


hostile = st.sampled_from([-3e38, -1e4, -2.0, 0.0, 1.0, 1.0 + 2**-23, 1.05, 3.0, 88.0, 1e4, 3e38])


@settings(max_examples=50, derandomize=True, deadline=None)
@given(
    st.integers(2, 5).flatmap(lambda classes: arrays("float32", (8, classes), elements=hostile)),
    st.sampled_from([0.3, 0.6, 0.95]),
)
def test_the_label_never_changes(logits, limit):
    logits = torch.from_numpy(logits)
    output = MemGuardOutput(Answers(logits), Guess(limit), config(max_steps=8, distortion_budget=2.0), seed=0)
    answers = output(images(8, 1, 8, 8))
    assert torch.isfinite(answers).all()
    assert torch.equal(answers.argmax(dim=1), logits.argmax(dim=1))


def test_noise_goes_back_to_the_classes_it_was_made_for():
    logits = torch.tensor([[0.0, 3.0, 1.0], [3.0, 1.0, 0.0], [1.0, 0.0, 3.0]])
    output = MemGuardOutput(Answers(logits), Guess(), config(distortion_budget=2.0), seed=0)
    noisy = guard(torch.tensor([[3.0, 1.0, 0.0]]), Guess(), config())[0]
    assert (noisy != torch.tensor([3.0, 1.0, 0.0])).any()
    expected = torch.stack([noisy[[2, 0, 1]], noisy[[0, 1, 2]], noisy[[1, 2, 0]]])
    torch.testing.assert_close(output(images(3, 1, 8, 8)), expected)


def test_an_answer_gets_noise_as_often_as_the_mixing_probability_says():
    count, z = 600, torch.tensor([[2.0, 0.5, 0.0]])
    noisy = guard(z, Guess(), config())
    half = distortion(noisy, z).item() / 2
    output = MemGuardOutput(Answers(z.expand(count, 3)), Guess(), config(distortion_budget=half), seed=0)
    answers = output(torch.rand(count, 1, 8, 8, generator=generator()))
    assert distortion(answers, z).mean().item() == pytest.approx(half, rel=0.15)
    kept = (answers == z).all(dim=1)
    torch.testing.assert_close(answers[~kept], noisy.expand(int((~kept).sum()), 3))


X = torch.rand(30, 1, 8, 8, generator=generator(7))


@pytest.fixture
def output():
    """A guarded network with answers that the guess takes for members' and answers that it takes for others'."""
    classifier = fill(new_classifier()).eval().requires_grad_(False)
    fc = classifier.network.fc
    nn.init.normal_(fc.weight, std=10, generator=generator())
    fc.bias -= classifier(X).mean(dim=0)
    return MemGuardOutput(classifier, Guess(0.8), config(distortion_budget=0.2), seed=3)


def test_an_image_has_one_answer_in_any_company(output):
    answers = output(X)
    noisy = (answers - output.classifier(X)).abs().amax(dim=1) > 1e-3
    assert noisy.any() and not noisy.all()
    torch.testing.assert_close(output(X.flip(0)).flip(0), answers, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.cat([output(x[None]) for x in X]), answers, rtol=1e-3, atol=1e-3)


def test_diffence_round_it_keeps_the_label(output):
    denoiser = Denoiser(lambda x, t: 0.1 * x, linear_alpha_bar(T=20, beta_1=1e-4, beta_T=0.02))
    labels = output.classifier(X).argmax(dim=1)
    assert len(labels.unique()) > 1
    assert torch.equal(Diffence(output, denoiser, num_candidates=3, step=10)(X).argmax(dim=1), labels)


def test_the_defence_classifier_is_as_published():
    guess = DefenseClassifier(10)
    linear = [part for part in guess.modules() if isinstance(part, nn.Linear)]
    assert [(part.in_features, part.out_features) for part in linear] == [(10, 256), (256, 128), (128, 64), (64, 1)]
    h = z = sorted_logits(5, 10)
    h = h.softmax(dim=1)
    for part in linear[:-1]:
        h = part(h).relu()
    torch.testing.assert_close(guess(z), linear[-1](h)[:, 0])


@pytest.fixture
def task(tmp_path):
    """A training for which the undefended classifier is there."""
    task = make_task(tmp_path, config(epochs=3))
    save_checkpoint(task.undefended, {"state_dict": fill(new_classifier()).network.state_dict()})
    return task


def test_the_guess_learns_from_as_many_members_as_others(task):
    classifier = fill(new_classifier())
    z, member = memguard._training_answers(task, classifier)
    assert member.tolist() == [1] * 10 + [0] * 10  # there are 10 tuning members, and 12 others
    parts = (task.tuning_members.images, task.reference.images[:10])
    expected = torch.cat([answer(classifier, part) for part in parts])
    torch.testing.assert_close(z, expected.sort(dim=1, descending=True).values)


def test_what_is_trained_guards_the_undefended_classifier(task):
    memguard.train(task)
    state = load_checkpoint(task.job.path, expect={"state_dict": dict, "defense_classifier": dict})
    undefended = load_checkpoint(task.undefended, expect={})["state_dict"]
    assert all(torch.equal(state["state_dict"][name], tensor) for name, tensor in undefended.items())
    classifier = new_classifier()
    wrapped = memguard.wrap(classifier, state, task.config, seed=4)
    assert (wrapped.classifier, wrapped.config, wrapped.seed) == (classifier, task.config, 4)
    for name, tensor in wrapped.guess.state_dict().items():
        assert torch.equal(tensor, state["defense_classifier"][name])


def test_the_guess_learns(task):
    memguard.train(task)
    losses = [float(line.split(",")[1]) for line in task.job.log_path.read_text().splitlines()[1:]]
    assert len(losses) == 3
    assert losses[2] < losses[0]


def test_the_weights_of_the_distortion_must_grow():
    with pytest.raises(ValueError, match="must not exceed"):
        config(c3_first=1.0, c3_last=0.1)
