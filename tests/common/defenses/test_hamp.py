import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from common.defenses import hamp
from common.defenses.hamp import HampConfig, HampOutput, hamp_loss, soft_labels, true_class_share
from common.diffence.fence import Diffence
from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import linear_alpha_bar
from common.runtime.images import to_float
from tests.common.defenses import TRAINING, generator, make_task, new_classifier
from tests.common.formula import fill, images


def config(**settings):
    own = {"gamma": 0.8, "alpha": 0.01, "kl_reduction": "batchmean", "test_time_modification": True}
    return HampConfig(**(TRAINING | own | settings))


def entropy(p, num_classes):
    rest = (1 - p) / (num_classes - 1)
    return -sum(x * math.log(x) for x in [p] + [rest] * (num_classes - 1))


PUBLISHED = [(10, 0.8, 0.47), (100, 0.8, 0.33), (10, 0.95, 0.26)]


@pytest.mark.parametrize(("num_classes", "gamma", "share"), PUBLISHED)
def test_the_true_class_has_the_published_share(num_classes, gamma, share):
    assert true_class_share(num_classes, gamma) == pytest.approx(share)


@pytest.mark.parametrize(("num_classes", "gamma"), [(c, g) for c, g, _ in PUBLISHED] + [(2, 0.5), (3, 0.99), (7, 0.1)])
def test_the_share_is_the_greatest_that_reaches_the_entropy(num_classes, gamma):
    share = true_class_share(num_classes, gamma)
    bound = gamma * math.log(num_classes)
    assert entropy(share, num_classes) >= bound > entropy(share + 0.01, num_classes)


@pytest.mark.parametrize("num_classes", [2, 10])
def test_no_entropy_asked_for_is_the_hard_label(num_classes):
    labels = torch.tensor([1, 0])
    assert torch.equal(soft_labels(labels, num_classes=num_classes, gamma=0.0), torch.eye(num_classes)[labels])
    logits = torch.randn(2, num_classes, generator=generator())
    loss = hamp_loss(logits, labels, config(gamma=0.0, alpha=0.0))
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, labels))


def test_a_bound_that_no_hundredth_reaches_gives_the_uniform_label():
    assert true_class_share(3, 0.99999) == pytest.approx(1 / 3)


def test_a_soft_label_spreads_the_rest_evenly():
    labels = soft_labels(torch.tensor([2, 0]), num_classes=10, gamma=0.8)
    rest = 0.53 / 9
    expected = torch.full((2, 10), rest)
    expected[0, 2] = expected[1, 0] = 0.47
    torch.testing.assert_close(labels, expected)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # which is what was published
@pytest.mark.parametrize("kl_reduction", ["batchmean", "mean"])
def test_the_loss_is_what_two_plain_loops_give(kl_reduction):
    logits = 2 * torch.randn(5, 10, generator=generator())
    labels = torch.tensor([0, 3, 9, 3, 5])
    divergence = answer_entropy = 0.0
    for z, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
        total = sum(math.exp(value) for value in z)
        for k, value in enumerate(z):
            p, target = math.exp(value) / total, 0.47 if k == label else 0.53 / 9
            divergence += target * math.log(target / p)
            answer_entropy -= p * math.log(p)
    count = 5 if kl_reduction == "batchmean" else 50
    expected = divergence / count - 0.3 * answer_entropy / 5
    loss = hamp_loss(logits, labels, config(alpha=0.3, kl_reduction=kl_reduction))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


class Told(nn.Module):
    """Answers the images it was told about as it was told, and all others with one answer of its own."""

    def __init__(self, known, logits, other):
        super().__init__()
        self.known, self.logits, self.other = known, logits, other

    def forward(self, x):
        asked_about_the_known = x.shape == self.known.shape and torch.equal(x, self.known)
        return self.logits if asked_about_the_known else self.other.expand(len(x), -1)


values = st.sampled_from([-3.0, 0.0, 1.0, 1.0 + 2**-23, 7.5, 1e30])


@given(arrays("float32", (3, 4), elements=values), arrays("float32", 4, elements=values))
def test_the_ranking_is_kept_and_only_the_random_image_gives_values(logits, other):
    x, logits, other = images(3, 1, 8, 8), torch.from_numpy(logits), torch.from_numpy(other)
    answer = HampOutput(Told(x, logits, other), seed=0)(x)
    assert torch.equal(answer.argmax(dim=1), logits.argmax(dim=1))
    above = logits[:, :, None] > logits[:, None, :]
    assert (answer[:, :, None] >= answer[:, None, :])[above].all()
    expected = other.sort(descending=True).values
    assert torch.equal(answer.sort(dim=1, descending=True).values[:, 1:], expected[1:].expand(3, -1))
    assert answer.amax(dim=1).tolist() == pytest.approx([expected[0].item()] * 3, rel=1e-6, abs=1e-5)


@given(arrays("float32", 4, elements=st.floats(-30, 30, width=32)), st.integers(0, 3))
def test_a_tie_of_the_random_image_does_not_change_the_label_of_the_probabilities(other, label):
    other = torch.from_numpy(other)
    other[1:] = other[1:].minimum(other[0])
    other[1] = other[0]  # the greatest two are equal
    x, logits = images(3, 1, 8, 8), torch.eye(4)[[label] * 3]
    p = HampOutput(Told(x, logits, other), seed=0)(x).softmax(dim=1)
    others = p[:, [k for k in range(4) if k != label]]
    assert (p[:, label] > others.amax(dim=1)).all()


class Listening(nn.Module):
    """A classifier that remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, x):
        self.asked.append(x)
        return x[:, 0, 0, :3]


def test_random_images_are_evenly_spread_over_the_range_of_pixels():
    x, classifier = torch.rand(60, 1, 8, 8, generator=generator()), Listening()
    HampOutput(classifier, seed=5)(x)
    own, drawn = classifier.asked
    assert torch.equal(own, x)
    assert drawn.shape == x.shape and drawn.dtype == x.dtype
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert torch.histc(drawn, 8, 0, 1).tolist() == pytest.approx([480] * 8, abs=90)


@pytest.fixture
def output():
    return HampOutput(fill(new_classifier()).eval(), seed=5).requires_grad_(False)


def test_an_image_has_one_answer_in_any_company(output):
    x = images(6, 1, 8, 8)
    answers = output(x)
    torch.testing.assert_close(output(x.flip(0)).flip(0), answers)
    torch.testing.assert_close(torch.cat([output(image[None]) for image in x]), answers)
    assert len(answers.sort(dim=1).values.unique(dim=0)) == 6  # each sample has a random image of its own


def test_another_seed_draws_other_values(output):
    x = images(4, 1, 8, 8)
    other = HampOutput(output.classifier, seed=6)
    assert not torch.isclose(output(x).sort(dim=1).values, other(x).sort(dim=1).values).all(dim=1).any()


def test_diffence_round_it_keeps_the_label_and_asks_what_it_hides_where_that_is_all(output, monkeypatch):
    denoiser = Denoiser(lambda x, t: 0.1 * x, linear_alpha_bar(T=20, beta_1=1e-4, beta_T=0.02))
    x = torch.rand(12, 1, 8, 8, generator=generator())
    fence = Diffence(output, denoiser, num_candidates=3, step=10)
    labels = output.classifier(x).argmax(dim=1)
    assert len(labels.unique()) > 1
    assert torch.equal(fence(x).argmax(dim=1), labels)
    monkeypatch.setattr(HampOutput, "forward", None)  # which asks for another image beside each
    assert torch.equal(fence.labelling(x).argmax(dim=1), labels)


def test_the_modification_can_be_left_out():
    classifier = new_classifier()
    assert hamp.wrap(classifier, {}, config(test_time_modification=False), seed=0, path=None) is classifier
    assert isinstance(hamp.wrap(classifier, {}, config(), seed=0, path=None), HampOutput)


def test_training_goes_by_the_loss(tmp_path):
    task = make_task(tmp_path, config(learning_rate=1e-12, batch_size=20, alpha=0.3))
    hamp.train(task)
    logged = float(task.job.log_path.read_text().splitlines()[1].split(",")[1])
    logits = task.new_classifier(task.seed).train()(to_float(task.members.images))
    assert logged == pytest.approx(hamp_loss(logits, task.members.labels, task.config).item(), rel=1e-5)


@given(st.integers(2, 200), st.floats(0.02, 0.999))
def test_no_greater_hundredth_reaches_the_entropy_for_any_number_of_classes(num_classes, gamma):
    share, bound = true_class_share(num_classes, gamma), gamma * math.log(num_classes)
    hundredths = [h / 100 for h in range(1, 100) if h / 100 >= 1 / num_classes - 1e-12]
    enough = [p for p in hundredths if entropy(p, num_classes) >= bound]
    assert share == pytest.approx(max(enough, default=1 / num_classes))


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_a_mean_over_classes_too_is_a_mean_over_samples_with_a_greater_weight_of_the_entropy():
    """Published: 1e-3 for ten classes and a mean over classes, which is 1e-2 against a divergence per sample."""
    logits, labels = 2 * torch.randn(5, 10, generator=generator()), torch.tensor([0, 3, 9, 3, 5])
    per_class, per_sample = (
        hamp_loss(logits, labels, config(alpha=alpha, kl_reduction=reduction))
        for alpha, reduction in ((1e-3, "mean"), (1e-2, "batchmean"))
    )
    torch.testing.assert_close(10 * per_class, per_sample)
