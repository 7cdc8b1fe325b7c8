import copy
import math
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from common.defenses import memguard
from common.defenses.memguard import (
    DefenseClassifier,
    MemGuardOutput,
    guard,
    mixing_probability,
    phase_one_gradient,
    unguarded_share,
)
from common.defenses.memguard_engine import Compact, Place, unit
from common.diffence.fence import Diffence
from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import linear_alpha_bar
from common.models.classifiers import Classifier
from common.runtime import checkpoints
from common.runtime.errors import UserError
from common.training.classifier import answer
from tests.common.defenses import UNDEFENDED, generator, make_task, new_classifier
from tests.common.defenses.guesses import config, distortion, guess_by_top, sorted_logits, trained_guess
from tests.common.formula import fill, images


@pytest.fixture(scope="module")
def guess():
    return trained_guess(4)


def phase_one_loss(z, original, guess, config, *, c3):
    """What phase I descends, of one sample's logits [K]: the paper's three terms."""
    flip = (z[1:].max() - z[0]).clamp(min=0)
    return config.c1 * guess(z[None])[0].abs() + config.c2 * flip + c3 * distortion(z, original)


def test_the_gradient_of_phase_one_is_that_of_the_loss(guess):
    exact, settings = copy.deepcopy(guess).double(), config(c1=2.0, c2=7.0)
    original = sorted_logits(40)
    z = original + 0.5 * torch.randn(original.shape, generator=generator(1))
    assert (z.argmax(dim=1) > 0).any()  # some flipped
    c3 = torch.linspace(0.1, 5, 40)
    ask = Compact(guess)
    own = phase_one_gradient(Place.at(z, ask), Place.at(original, ask).p, settings, c3=c3)
    for row, start, weight, gradient in zip(z.double(), original.double(), c3, own, strict=True):
        row.requires_grad_(True)
        phase_one_loss(row, start, exact, settings, c3=weight.double()).backward()
        torch.testing.assert_close(gradient.double(), row.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("gap", [5.0, 20.0, 40.0, 60.0])
def test_the_gradient_keeps_its_direction_where_the_top_probability_rounds_to_1(gap):
    slope, settings = [3.0, 1.0, -2.0], config(c1=2.0)
    original, z = torch.tensor([[gap, 0.0, -1.5]]), torch.tensor([[gap - 0.5, 0.25, -1.75]])
    start = original.softmax(dim=1)
    here = Place(z, z.softmax(dim=1), torch.ones(1), torch.ones(1), torch.tensor([slope]))
    own = phase_one_gradient(here, start, settings, c3=torch.tensor([0.5]))[0]
    with localcontext(prec=80):
        now, before = ([Decimal(value).exp() for value in row[0].tolist()] for row in (z, original))
        now, before = [x / sum(now) for x in now], [x / sum(before) for x in before]
        by_p = [2 * Decimal(g) + Decimal("0.5").copy_sign(p - q) for g, p, q in zip(slope, now, before, strict=True)]
        mean = sum(p * g for p, g in zip(now, by_p, strict=True))
        expected = [float(p * (g - mean)) for p, g in zip(now, by_p, strict=True)]
    assert own.tolist() == pytest.approx(expected, rel=1e-4, abs=0)


def slow_guard(z, guess, config):
    """Phase I as the paper tells it, for one sample: its noisy logits after each success, until the first failure."""
    member = guess(z[None]).item() > 0
    successes, c3 = [], config.c3_first
    while c3 < 1.001 * config.c3_last:
        moved = z.clone()
        for _ in range(config.max_steps):
            moved = moved.detach().requires_grad_(True)
            phase_one_loss(moved, z, guess, config, c3=c3).backward()
            with torch.no_grad():
                moved = moved - config.step_length * moved.grad / moved.grad.norm()
            if (guess(moved[None]).item() > 0) != member and moved[0] > moved[1:].max():
                break
        else:
            return successes
        successes.append(moved)
        c3 *= 10
    return successes


def test_phase_one_is_what_the_paper_tells_sample_by_sample(guess):
    settings, exact = config(c3_last=100.0), copy.deepcopy(guess).double()
    z = sorted_logits(60)
    expected = [slow_guard(row, exact, settings) for row in z.double()]
    assert {len(successes) for successes in expected} >= {0, 3, 4}  # failures at once, later, and none
    for row, own, successes in zip(z.double(), guard(z, guess, settings), expected, strict=True):
        torch.testing.assert_close(own.double(), successes[-1] if successes else row, rtol=1e-3, atol=1e-3)


def test_the_last_step_counts(guess):
    z, settings = sorted_logits(60), {"c3_last": 0.1}
    found = [(guard(z, guess, config(max_steps=count, **settings)) != z).any(dim=1) for count in range(1, 8)]
    one_step = z - 0.1 * unit(
        phase_one_gradient(Place.at(z, Compact(guess)), z.softmax(dim=1), config(), c3=torch.full((60,), 0.1))
    )
    assert torch.equal(found[0], (guess(one_step) > 0) != (guess(z) > 0))
    assert [int(now.sum()) for now in found] == sorted({int(now.sum()) for now in found})  # more with every step


def test_noise_is_found_however_sure_the_answer_is(guess):
    gaps = torch.arange(2.0, 61.0, 2.0)
    z = torch.stack([gaps, 0 * gaps, -0.5 + 0 * gaps, -1 + 0 * gaps], dim=1)
    noisy = guard(z, guess, config(max_steps=600, c3_last=0.1))
    assert (guess(z) > 0).all()
    assert (guess(noisy) < 0).all()
    assert (noisy.argmax(dim=1) == 0).all()


def test_a_larger_weight_of_the_distortion_is_tried_from_the_original_again(guess):
    z = sorted_logits(60)
    once, thrice = (guard(z, guess, config(c3_last=last)) for last in (0.1, 10.0))
    both = (once != z).any(dim=1)
    assert torch.equal(both, (thrice != z).any(dim=1))  # the first success is never lost
    assert not torch.equal(once, thrice)
    assert distortion(thrice, z)[both].mean() < distortion(once, z)[both].mean()


@pytest.mark.parametrize("num_classes", [4, 10])
def test_an_answer_is_guarded_alike_in_any_company(num_classes):
    """To the bit: steps of a set length make much of a rounding."""
    z, guess, settings = sorted_logits(100, num_classes), trained_guess(num_classes), config(max_steps=100)
    together = guard(z, guess, settings)
    assert (together != z).any(dim=1).sum() > 50
    for parts in ([1] * 100, [2, 3, 90, 5], [37, 63]):
        assert torch.equal(torch.cat([guard(part, guess, settings) for part in z.split(parts)]), together)
    assert torch.equal(guard(z.flip(0), guess, settings).flip(0), together)


@pytest.mark.parametrize("limit", [0.5, 0.7, 0.9])
def test_where_noise_is_found_the_guess_changes_and_the_label_stays(limit):
    z, guess = sorted_logits(60), guess_by_top(limit)
    noisy = guard(z, guess, config())
    found = (noisy != z).any(dim=1)
    member = guess(z) > 0
    assert (found & member).any() and (found & ~member).any()
    assert torch.equal(guess(noisy)[found] > 0, ~member[found])
    assert (noisy[:, 0] > noisy[:, 1:].amax(dim=1))[found].all()


def test_a_guess_that_cannot_be_misled_leaves_the_answer_as_it_is():
    z, sure = sorted_logits(), guess_by_top(-1.0)
    assert torch.equal(guard(z, sure, config()), z)
    assert unguarded_share(z, sure, config()) == 1


def test_the_share_of_unguarded_answers_is_that_of_no_noise(guess):
    z = sorted_logits(300)
    noisy = guard(z, guess, config())
    probability = mixing_probability(z, noisy, guess, budget=1.0)
    expected = (probability == 0).double().mean().item()
    assert 0 < expected < 1
    assert unguarded_share(z, guess, config()) == expected


@pytest.mark.parametrize("budget", [0.0, 0.05, 0.3, 2.0])
def test_the_expected_distortion_keeps_to_the_budget(guess, budget):
    z = sorted_logits(60)
    noisy = guard(z, guess, config())
    probability = mixing_probability(z, noisy, guess, budget=budget)
    size = distortion(noisy, z)
    assert (probability * size <= budget + 1e-6).all()
    nearer = (guess(z).sigmoid() - 0.5).abs() > (guess(noisy).sigmoid() - 0.5).abs()
    nearer &= (noisy != z).any(dim=1)
    assert nearer.any() and not nearer.all()
    spent = torch.where(size > budget, budget, size)  # all of the budget, or all of the noise
    torch.testing.assert_close((probability * size)[nearer], spent[nearer])
    assert (probability[~nearer] == 0).all()


def test_noise_that_does_not_mislead_the_guess_or_takes_it_farther_away_is_never_used():
    noisy = torch.tensor([[9.0, 0.0], [1.5, 0.0], [0.5, 0.0], [1.2, 0.0], [0.0, 1.2]])
    z, guess = torch.tensor([[2.0, 0.0]]).expand(5, 2), guess_by_top(0.8, num_classes=2)
    assert [round(d, 1) for d in guess(noisy).tolist()] == [1.6, 0.1, -1.4, -0.3, -0.3]  # z has 0.6
    assert mixing_probability(z, noisy, guess, budget=2.0).tolist() == [0, 0, 0, 1, 1]


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
    guess = guess_by_top(limit, num_classes=logits.shape[1])
    output = MemGuardOutput(Answers(logits), guess, config(max_steps=8, distortion_budget=2.0), seed=0)
    answers = output(images(8, 1, 8, 8))
    assert torch.isfinite(answers).all()
    assert torch.equal(answers.argmax(dim=1), logits.argmax(dim=1))
    assert torch.equal(answers.softmax(dim=1).argmax(dim=1), logits.argmax(dim=1))


def neighbours(count):
    """Logits [count, 2] a rounding apart, greatest first, of which some have equal probabilities."""
    second = 20 * torch.rand(count, generator=generator())
    z = torch.stack([second.nextafter(torch.tensor(math.inf)), second], dim=1)
    assert (z.flip(1).softmax(dim=1).argmax(dim=1) == 0).any()  # where the first class wrongly wins
    return z


def test_a_label_that_leads_by_a_rounding_is_kept_by_a_softmax_too():
    logits, sure = neighbours(64).flip(1), guess_by_top(-1.0, num_classes=2)
    answers = MemGuardOutput(Answers(logits), sure, config(), seed=0)(images(64, 1, 8, 8))
    torch.testing.assert_close(answers, logits)
    assert (answers.softmax(dim=1).argmax(dim=1) == 1).all()


def test_noise_that_leaves_a_rounding_of_the_lead_keeps_the_label_too(monkeypatch):
    noisy, guess = neighbours(64), guess_by_top(0.68, num_classes=2)
    monkeypatch.setattr(memguard, "guard", lambda z, guess, config: noisy)
    logits = torch.tensor([[0.0, 2.0]]).expand(64, 2)
    answers = MemGuardOutput(Answers(logits), guess, config(distortion_budget=2.0), seed=0)(images(64, 1, 8, 8))
    torch.testing.assert_close(answers, noisy.flip(1))
    assert (answers.softmax(dim=1).argmax(dim=1) == 1).all()


def test_who_sorts_an_answer_again_is_misled_too():
    """Noise may put the other classes into another order: the guess must be wrong about them in any."""
    logits, guess = sorted_logits(300, 10, scale=3.0), trained_guess(10)
    output = MemGuardOutput(Answers(logits), guess, config(max_steps=100, distortion_budget=2.0), seed=0)
    answers = output(torch.rand(300, 1, 8, 8, generator=generator()))
    ordered = answers.sort(dim=1, descending=True).values
    noisy = (answers - logits).abs().amax(dim=1) > 1e-3
    assert (ordered != answers)[noisy].any()
    guesses = [guess.layers(z.softmax(dim=1))[:, 0] > 0 for z in (logits, ordered)]
    assert noisy.sum() > 100
    assert torch.equal(guesses[0][noisy], ~guesses[1][noisy])


def test_noise_goes_back_to_the_classes_it_was_made_for():
    logits, guess = torch.tensor([[0.0, 3.0, 1.0], [3.0, 1.0, 0.0], [1.0, 0.0, 3.0]]), guess_by_top(num_classes=3)
    output = MemGuardOutput(Answers(logits), guess, config(distortion_budget=2.0), seed=0)
    noisy = guard(torch.tensor([[3.0, 1.0, 0.0]]), guess, config())[0]
    assert (noisy != torch.tensor([3.0, 1.0, 0.0])).any()
    expected = torch.stack([noisy[[2, 0, 1]], noisy[[0, 1, 2]], noisy[[1, 2, 0]]])
    torch.testing.assert_close(output(images(3, 1, 8, 8)), expected)


def test_an_answer_gets_noise_as_often_as_the_mixing_probability_says():
    count, z, guess = 600, torch.tensor([[2.0, 0.5, 0.0]]), guess_by_top(num_classes=3)
    noisy = guard(z, guess, config())
    half = distortion(noisy, z).item() / 2
    output = MemGuardOutput(Answers(z.expand(count, 3)), guess, config(distortion_budget=half), seed=0)
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
    return MemGuardOutput(classifier, guess_by_top(0.8, num_classes=3), config(distortion_budget=0.2), seed=3)


def test_an_image_has_one_answer_in_any_company(output):
    answers = output(X)
    noisy = (answers - output.classifier(X)).abs().amax(dim=1) > 1e-3
    assert noisy.any() and not noisy.all()
    torch.testing.assert_close(output(X.flip(0)).flip(0), answers, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.cat([output(x[None]) for x in X]), answers, rtol=1e-3, atol=1e-3)


def test_diffence_round_it_keeps_the_label_and_asks_what_it_hides_where_that_is_all(output, monkeypatch):
    denoiser = Denoiser(lambda x, t: 0.1 * x, linear_alpha_bar(T=20, beta_1=1e-4, beta_T=0.02))
    labels = output.classifier(X).argmax(dim=1)
    assert len(labels.unique()) > 1
    fence = Diffence(output, denoiser, num_candidates=3, step=10)
    assert torch.equal(fence(X).argmax(dim=1), labels)
    monkeypatch.setattr(memguard, "protect", None)  # which searches noise for each image
    assert torch.equal(fence.labelling(X).argmax(dim=1), labels)


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
    checkpoints.save(task.job.path.with_name(UNDEFENDED), {"state_dict": fill(new_classifier()).network.state_dict()})
    return task


def test_the_guess_learns_from_as_many_members_as_others(task):
    classifier = fill(new_classifier())
    z, member = memguard.training_answers(task, classifier)
    assert member.tolist() == [1] * 10 + [0] * 10  # there are 10 tuning members, and 12 others
    parts = (task.tuning_members.images, task.reference.images[:10])
    expected = torch.cat([answer(classifier, part) for part in parts])
    torch.testing.assert_close(z, expected.sort(dim=1, descending=True).values)


def test_what_is_trained_guards_the_undefended_classifier(task):
    memguard.train(task)
    state = checkpoints.read(task.job.path, expect={"state_dict": dict, "defense_classifier": dict}).content
    assert all(torch.equal(state["state_dict"][name], tensor) for name, tensor in task.undefended().items())
    classifier = new_classifier()
    wrapped = memguard.wrap(classifier, state, task.config, seed=4, path=task.job.path)
    assert (wrapped.classifier, wrapped.config, wrapped.seed) == (classifier, task.config, 4)
    for name, tensor in wrapped.guess.state_dict().items():
        assert torch.equal(tensor, state["defense_classifier"][name])


def test_what_is_trained_says_how_many_answers_go_unguarded(task, capsys):
    memguard.train(task)
    state = checkpoints.read(task.job.path, expect={}).content
    guess = memguard.wrap(new_classifier(), state, task.config, seed=4, path=task.job.path).guess
    z, _ = memguard.training_answers(task, fill(new_classifier()))
    assert state["unguarded"] == pytest.approx(unguarded_share(z, guess, task.config))
    assert f"no noise is found for {state['unguarded']:.1%} of the answers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda weights: None, "no defence classifier"),
        (lambda weights: {**weights, "layers.1.bias": torch.tensor([math.nan])}, "not finite: layers.1.bias"),
        (lambda weights: {**weights, "layers.0.0.weight": torch.zeros(256, 7)}, r"layers.0.0.weight is \(256, 7\)"),
        (lambda weights: {"layers.1.bias": weights["layers.1.bias"]}, "missing layers.0.0.weight"),
    ],
)
def test_a_damaged_defence_classifier_is_refused_by_name(tmp_path, damage, message):
    state = {"defense_classifier": damage(DefenseClassifier(3).state_dict())}
    with pytest.raises(UserError, match=message) as error:
        memguard.wrap(new_classifier(), state, config(), seed=0, path=tmp_path / "memguard.pth.tar")
    assert "memguard.pth.tar" in str(error.value)


class HeadFirst(nn.Module):
    """Registers its last layer before its first."""

    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Linear(16, 3), nn.Linear(64, 16)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)))


def test_the_classes_are_the_classifiers_whatever_weights_come_last(tmp_path):
    classifier = Classifier(HeadFirst(), num_classes=3, mean=(0.4,), std=(0.3,))
    state = {"defense_classifier": DefenseClassifier(3).state_dict()}
    assert memguard.wrap(classifier, state, config(), seed=0, path=tmp_path)(X).shape == (30, 3)


def test_the_guess_learns(task):
    memguard.train(task)
    losses = [float(line.split(",")[1]) for line in task.job.log_path.read_text().splitlines()[1:]]
    assert len(losses) == 3
    assert losses[2] < losses[0]


def test_the_weights_of_the_distortion_must_grow():
    with pytest.raises(ValueError, match="must not exceed"):
        config(c3_first=1.0, c3_last=0.1)


def test_answers_to_several_passes_are_those_of_each(output):
    """To the bit, whatever the number of passes and their sizes."""
    x = images(11, 1, 8, 8)
    passes = [x[:4], x[4:8], x[8:]]
    assert torch.equal(output.of_passes(passes), torch.cat([output(part) for part in passes]))
