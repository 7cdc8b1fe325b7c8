"""The fence round a small classifier and a small diffusion model."""

import math

import pytest
import torch
from torch import nn

from common.diffence import EVERYWHERE, Candidates, Diffence, Interval, answer, phi
from common.diffence.candidates import blank
from common.diffence.labels import LabelAlone
from common.diffence.noise import candidate_noise
from common.diffence.rule import reconstructions_needed
from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import linear_alpha_bar, q_sample
from common.models.unet import UNet, UNetConfig
from common.runtime.device import PASS_PIXELS
from common.runtime.rng import sample_key
from tests.common.diffence.slow import slow_select
from tests.common.formula import fill, images


class SmallClassifier(nn.Module):
    """A convolution, a batch norm, a dropout and a linear layer: the last two misbehave in training mode."""

    def __init__(self, num_classes=4):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.LazyLinear(num_classes),
        )
        self(torch.zeros(2, 1, 8, 8))
        fill(self)

    def forward(self, x):
        return 3 * self.layers(x)


X = images(7, 1, 8, 8)
ON_GRID = (X * 255).round() / 255  # what is purified
ALPHA_BAR = linear_alpha_bar(T=200, beta_1=1e-4, beta_T=0.02)


@pytest.fixture(scope="module")
def classifier():
    return SmallClassifier()


@pytest.fixture(scope="module")
def denoiser():
    config = UNetConfig(ch=32, ch_mult=[1, 2], attn=[1], num_res_blocks=1, dropout=0.5)
    return Denoiser(fill(UNet(config, channels=1, num_steps=200)), ALPHA_BAR)


@pytest.fixture
def fence(classifier, denoiser):
    def build(**options):
        options = {"num_candidates": 5, "step": 60, "rule": Interval(-0.4, 0.4), **options}
        return Diffence(classifier, denoiser, **options)

    return build


def assert_close(first, second):
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def published_step(image, noise, predict_noise, *, step):
    """The published noising of one image in [-1, 1], and the jump from index ``step`` of abar, from 0, to index 0."""
    abar = [value.item() for value in ALPHA_BAR[1:]]
    x_t = image / math.sqrt(abar[step - 1]) + math.sqrt(1 / abar[step - 1] - 1) * noise
    eps = predict_noise(x_t, torch.tensor([step]))
    x_0 = (x_t - math.sqrt(1 - abar[step]) * eps) / math.sqrt(abar[step])
    return math.sqrt(abar[0]) * x_0 + math.sqrt(1 - abar[0]) * eps


def standard_step(image, noise, predict_noise, *, step):
    x_s = q_sample(image, noise, alpha_bar=ALPHA_BAR[step].item())
    eps = predict_noise(x_s, torch.tensor([step - 1]))
    return (x_s - (1 - ALPHA_BAR[step].item()) ** 0.5 * eps) / ALPHA_BAR[step].item() ** 0.5


@pytest.mark.parametrize(("noising", "reconstruct"), [("ddpm", standard_step), ("published", published_step)])
def test_the_answer_is_the_method_step_by_step(fence, classifier, denoiser, noising, reconstruct):
    """One image, one candidate at a time, from the forward process to the selection."""
    classifier.eval()
    denoiser.eval()
    fenced = fence(key=3, noising=noising)
    expected = []
    for image, on_grid in zip(X, ON_GRID, strict=True):
        candidates = []
        for j in range(5):
            noise = candidate_noise([(sample_key(image), j)], image.shape, seed=3)
            x_0 = reconstruct(2 * on_grid[None] - 1, noise, denoiser.predict_noise, step=60)
            candidates.append(classifier(((x_0 + 1) / 2).clamp(0, 1))[0])
        candidates = torch.stack([*candidates, classifier(image[None])[0]]).detach()
        expected.append(candidates[slow_select(candidates, fenced.rule)])
    answer = fenced(X)
    assert_close(answer, torch.stack(expected))
    assert not torch.equal(answer, classifier(X))  # the fence does something


def test_any_callable_with_a_schedule_will_do_for_a_diffusion_model(classifier):
    """A plain function and betas of the user's own; its images are worked out by hand."""
    betas = torch.tensor([0.1, 0.05, 0.3], dtype=torch.float64)
    alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(dim=0)])
    asked = []

    def predict_noise(x_s, index):
        asked.append(index)
        return 0.25 * x_s

    fenced = Diffence(classifier, Denoiser(predict_noise, alpha_bar), num_candidates=2, step=2)
    a = 0.9 * 0.95
    noise = candidate_noise([(sample_key(image), 1) for image in X], X.shape[1:], seed=0)
    x_s = a**0.5 * (2 * ON_GRID - 1) + (1 - a) ** 0.5 * noise
    x_0 = x_s * (1 - 0.25 * (1 - a) ** 0.5) / a**0.5
    assert_close(fenced.candidates(X).logits[:, 1], classifier(((x_0 + 1) / 2).clamp(0, 1)))
    assert set(torch.cat(asked).tolist()) == {1}
    assert torch.equal(fenced(X).argmax(dim=1), classifier(X).argmax(dim=1))


@pytest.mark.parametrize("interval", [EVERYWHERE, Interval(-0.4, 0.4), Interval(-50.0, -40.0), Interval(90.0, 90.0)])
def test_the_label_is_always_the_classifiers_own(fence, classifier, interval):
    x = images(40, 1, 8, 8)
    candidates = fence(rule=interval).candidates(x).logits
    assert (candidates.argmax(dim=2) != candidates[:, -1:].argmax(dim=2)).any()  # some reconstructions change it
    assert torch.equal(fence(rule=interval)(x).argmax(dim=1), classifier(x).argmax(dim=1))


@pytest.mark.parametrize("batch_size", [None, 1, 4, 64])
def test_the_bits_of_an_answer_do_not_depend_on_the_batch_or_the_order(fence, batch_size):
    """On the CPU, where every pass has the same size; only that size changes bits."""
    fenced = fence(batch_size=batch_size)
    together = fenced.candidates(X).logits
    assert together.shape == (7, 6, 4)
    assert torch.equal(torch.cat([fenced.candidates(image[None]).logits for image in X]), together)
    order = torch.tensor([3, 6, 0, 5, 1, 4, 2])
    assert torch.equal(fenced.candidates(X[order]).logits, together[order])
    assert torch.equal(fenced(X[order]), fenced(X)[order])
    assert_close(together, fence(batch_size=3).candidates(X).logits)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_every_pass_has_the_batch_size(fence, denoiser, batch_size):
    sizes = []
    handle = denoiser.predict_noise.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    candidates = fence(batch_size=batch_size).candidates(X).logits
    handle.remove()
    assert set(sizes) == {batch_size} and len(sizes) == math.ceil(7 * 5 / batch_size)
    assert_close(candidates, fence().candidates(X).logits)


def there(candidates):
    """Which candidates there are, the raw one included: bool [n, N + 1]."""
    drawn = torch.arange(candidates.count) < candidates.drawn[:, None]
    return torch.cat([drawn, (candidates.drawn >= 0)[:, None]], dim=1)


def same_bits(first, second):
    """The same candidates are there, and they are the same."""
    which = there(first)
    return torch.equal(first.drawn, second.drawn) and torch.equal(first.logits[which], second.logits[which])


@pytest.mark.parametrize("interval", [EVERYWHERE, Interval(-0.4, 0.4), Interval(-0.2, 0.0), Interval(90.0, 90.0)])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_lazy_draws_answer_with_the_bits_of_full_selection(fence, interval, batch_size):
    x = images(40, 1, 8, 8)
    fenced = fence(rule=interval, batch_size=batch_size)
    full = fenced.candidates(x)
    assert torch.equal(fenced(x), answer(full, interval).logits)
    lazy = fenced.draw(x, until=interval)
    assert torch.equal(lazy.logits[there(lazy)], full.logits[there(lazy)])
    assert (lazy.drawn >= 1).all() and (full.drawn == 5).all()


def test_a_label_alone_is_answered_without_a_reconstruction(fence, denoiser, classifier):
    calls = []
    handle = denoiser.predict_noise.register_forward_pre_hook(lambda _, args: calls.append(args))
    lazy, full = fence(rule=LabelAlone(3.0)), fence(rule=LabelAlone(3.0), work="constant")
    found, drawn = lazy(X), lazy.draw(X, until=lazy.rule)
    assert not calls and (drawn.drawn == 0).all() and (reconstructions_needed(drawn, lazy.rule) == 0).all()
    assert torch.equal(found, full(X)) and calls
    handle.remove()
    assert torch.equal(found.argmax(1), classifier(X).argmax(1))


def test_one_at_a_time_no_candidate_is_drawn_after_the_accepted_one(fence):
    x, interval = images(40, 1, 8, 8), Interval(-0.4, 0.4)
    fenced = fence(batch_size=1)
    full, lazy = fenced.candidates(x), fenced.draw(x, until=interval)
    for logits, drawn in zip(full.logits, lazy.drawn.tolist(), strict=True):
        label = logits[-1].argmax()
        accepted = [j for j, z in enumerate(logits[:-1]) if z.argmax() == label and -0.4 <= phi(z).item() <= 0.4]
        assert drawn == (accepted[0] + 1 if accepted else 5)
    assert reconstructions_needed(full, interval).tolist() == lazy.drawn.tolist()


def test_what_is_known_is_not_drawn_again(fence, denoiser):
    first, second = EVERYWHERE, Interval(90.0, 90.0)
    fenced, calls = fence(batch_size=4), []
    known = fenced.draw(X, until=first)
    handle = denoiser.predict_noise.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    assert same_bits(fenced.draw(X, until=first, known=known), known) and not calls
    more = fenced.draw(X, until=second, known=known)
    handle.remove()
    assert calls and torch.equal(more.logits[there(known)], known.logits[there(known)])
    full = fenced.candidates(X)
    assert same_bits(fenced.draw(X, until=None, known=more), full)
    some = Candidates.cat([known[:3], blank(4, count=5, num_classes=4)])  # some images are known, others are not
    assert same_bits(fenced.draw(X, until=None, known=some), full)


def test_ticks_count_every_image_once(fence):
    for until in (None, EVERYWHERE, Interval(-0.4, 0.4)):
        ticks = []
        fence(batch_size=3).draw(X, until=until, tick=ticks.append)
        assert sum(ticks) == len(X)


def test_asking_for_more_candidates_leaves_the_first_ones_as_they_were(fence):
    few, many = fence(num_candidates=2).candidates(X).logits, fence(num_candidates=5).candidates(X).logits
    assert torch.equal(many[:, :2], few[:, :2])
    assert torch.equal(many[:, -1], few[:, -1])


def test_asking_again_gives_the_same_bits_whatever_the_global_generator_says(fence):
    torch.manual_seed(0)
    first = fence()(X)
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    assert torch.equal(fence()(X), first)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_seed_changes_the_candidates_but_not_the_raw_answer(fence):
    first, other = fence(key=0).candidates(X).logits, fence(key=1).candidates(X).logits
    assert not torch.isclose(first[:, :-1], other[:, :-1]).all(dim=2).any()
    assert torch.equal(first[:, -1], other[:, -1])


def test_an_image_that_comes_twice_in_a_batch_gets_one_answer(fence):
    answer = fence()(torch.cat([X[:2], X[:1]]))
    assert torch.equal(answer[2], answer[0])


def test_the_fence_answers_in_evaluation_mode_whatever_is_asked(fence, classifier, denoiser):
    fenced = fence()
    first = fenced(X)
    for module in (fenced, classifier, denoiser, nn.Sequential(fenced)):
        module.train()
        assert torch.equal(fenced(X), first)


def test_labels_that_only_float64_tells_apart_are_kept(denoiser):
    logits = torch.tensor([[1.0, 1.0 + 1e-12]], dtype=torch.float64)
    fenced = Diffence(lambda x: logits.expand(len(x), 2), denoiser, num_candidates=1, step=1)
    answer = fenced(X)
    assert answer.dtype == torch.float64 and (answer.argmax(dim=1) == 1).all()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
)
def test_logits_keep_their_precision_and_half_becomes_single(denoiser, given, kept):
    logits = torch.tensor([[1.0, 2.0]], dtype=given)
    fenced = Diffence(lambda x: logits.expand(len(x), 2), denoiser, num_candidates=2, step=10)
    assert fenced.candidates(X).logits.dtype == fenced(X).dtype == kept
    assert fenced(X).tolist() == [[1.0, 2.0]] * 7


def test_in_bf16_the_classifier_keeps_its_own_precision(classifier):
    """An answer in bf16 would tell a reconstruction from the image itself, whose label needs all digits."""
    noise_free = Denoiser(lambda x, index: torch.zeros_like(x), ALPHA_BAR, precision="bf16")
    candidates = Diffence(classifier, noise_free, num_candidates=1, step=1).candidates(X).logits
    assert (candidates != candidates.bfloat16()).any(dim=2).all()


def test_a_plain_function_can_be_fenced(denoiser):
    fenced = Diffence(lambda x: x.flatten(1)[:, :3], denoiser, num_candidates=2, step=10)
    assert torch.equal(fenced(X).argmax(dim=1), X.flatten(1)[:, :3].argmax(dim=1))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_an_error(denoiser, value):
    def broken(x):
        return torch.tensor([[0.0, value]]).expand(len(x), 2)

    with pytest.raises(ValueError, match="NaN or infinite logits"):
        Diffence(broken, denoiser, num_candidates=2, step=10)(X)


@pytest.mark.parametrize("shape", [(7,), (7, 0), (7, 2, 2), (3, 2)])
def test_answers_that_are_no_logits_are_an_error(denoiser, shape):
    with pytest.raises(ValueError, match=r"expected logits \[\d+, K\]"):
        Diffence(lambda x: torch.zeros(shape), denoiser, num_candidates=1, step=10)(X)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X - 0.51, r"images in \[0, 1\]"),
        (X + 0.51, r"images in \[0, 1\]"),
        (X.where(X < 0.9, math.nan), r"images in \[0, 1\]"),
        ((X * 255).to(torch.uint8), r"float images \[B, C, H, W\] .* torch.uint8"),
        (X.round().long(), "float images"),
        (X[0], r"float images .* \(1, 8, 8\)"),
        (X[:0], "B >= 1"),
    ],
)
def test_what_is_no_image_is_an_error(fence, x, message):
    with pytest.raises(ValueError, match=message):
        fence()(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": Interval(2.0, 1.0)}, "lo <= hi"),
        ({"rule": Interval(math.nan, 1.0)}, "lo <= hi"),
        ({"rule": Interval(0.0, math.inf)}, "two finite numbers"),
        ({"step": 0}, "step must be 1 … 200"),
        ({"step": 201}, "step must be 1 … 200"),
        ({"step": 200, "noising": "published"}, "step must be 1 … 199"),
        ({"num_candidates": 0}, r"num_candidates \(0\)"),
        ({"batch_size": 0}, r"batch_size \(0\)"),
    ],
)
def test_impossible_settings_are_an_error(fence, options, message):
    with pytest.raises(ValueError, match=message):
        fence(**options)


def test_a_secret_key_is_bytes_and_names_the_noise(fence):
    first, other = (fence(key=byte * 32) for byte in (b"a", b"b"))
    assert not torch.isclose(first.candidates(X).logits[:, :-1], other.candidates(X).logits[:, :-1]).all(dim=2).any()
    assert torch.equal(first(X), fence(key=b"a" * 32)(X))


@pytest.mark.parametrize("key", [-1, 2**63, True, "secret", b"short", 1.0, None])
def test_a_key_that_is_none_is_refused(fence, key):
    with pytest.raises(ValueError, match="key must be a seed"):
        fence(key=key)


def test_constant_work_draws_all_candidates_for_the_same_answer(fence, denoiser):
    sizes = []
    handle = denoiser.predict_noise.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    lazy = fence(rule=EVERYWHERE, batch_size=1)(X)
    few, _ = len(sizes), sizes.clear()
    constant = fence(rule=EVERYWHERE, batch_size=1, work="constant")(X)
    handle.remove()
    assert torch.equal(lazy, constant)
    assert len(sizes) == 5 * len(X) > few


def test_images_less_than_half_a_level_apart_have_the_same_reconstructions(fence, classifier):
    near = (ON_GRID + 0.4 / 255 * torch.sign(0.5 - ON_GRID)).clamp(0, 1)
    first, other = fence().candidates(ON_GRID).logits, fence().candidates(near).logits
    assert torch.equal(first[:, :-1], other[:, :-1])
    assert torch.allclose(other[:, -1], fence().labelling(near), atol=1e-6) and not torch.equal(
        first[:, -1], other[:, -1]
    )


def test_shared_noise_is_the_same_for_all_images_so_near_copies_have_nearly_the_same_candidates(fence):
    near = X.clone()
    near[:, :, 0, 0] = (near[:, :, 0, 0] + 2 / 255).clamp(max=1)
    moved = {}
    for noise in ("shared", "per_image"):
        first, other = (fence(noise=noise).candidates(x).logits[:, :-1] for x in (X, near))
        moved[noise] = float((first - other).abs().mean())
    assert moved["shared"] < 0.1 * moved["per_image"]
    noise = candidate_noise([(b"one", 2), (b"two", 2), (b"one", 3)], X.shape[1:], seed=1, noise="shared")
    assert torch.equal(noise[0], noise[1]) and not torch.equal(noise[0], noise[2])


def test_a_fence_takes_only_steps_that_its_diffusion_model_has_learnt(classifier):
    narrow = Denoiser(lambda x, index: x, ALPHA_BAR, only_steps=[60, 61])
    Diffence(classifier, narrow, step=60, noising="published")  # which asks for the step after it
    Diffence(classifier, narrow, step=61)
    for step, noising in ((59, "ddpm"), (62, "ddpm"), (61, "published")):
        with pytest.raises(ValueError, match="the diffusion model's steps"):
            Diffence(classifier, narrow, step=step, noising=noising)


@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("noise", ["per_image", "shared"])
def test_reconstructions_that_are_known_give_the_candidates_they_give_otherwise(fence, batch_size, noise):
    """To the bit, since passes have one size: so one set of reconstructions serves several classifiers."""
    fenced, ticks = fence(batch_size=batch_size, noise=noise), []
    known = fenced.reconstructions(X, tick=ticks.append)
    assert known.shape == (7, 5, 1, 8, 8) and known.min() >= 0 and known.max() <= 1 and sum(ticks) == 7
    found, expected = fenced.classified(X, known), fenced.candidates(X)
    assert torch.equal(found.logits, expected.logits) and torch.equal(found.rank, expected.rank)
    assert torch.equal(found.drawn, expected.drawn)


@pytest.mark.parametrize("batch_size", [None, 3])
def test_a_diffusion_model_of_another_resolution_gets_noise_of_its_own_size(classifier, batch_size):
    seen = []

    def predict(x_s, index):
        seen.append(tuple(x_s.shape))
        return torch.sin(x_s)

    denoiser = Denoiser(predict, ALPHA_BAR, image_shape=(1, 8, 8), own_shape=(3, 96, 96))
    fenced = Diffence(classifier, denoiser, num_candidates=4, step=50, key=7, batch_size=batch_size)
    x = images(2, 1, 8, 8)
    found = fenced.reconstructions(x)
    assert set(seen) == {(batch_size or PASS_PIXELS // 96**2, 3, 96, 96)}
    for image, reconstructions in zip(x, found, strict=True):
        noise = candidate_noise([(sample_key(image), j) for j in range(4)], (3, 96, 96), seed=7)
        on_grid = ((image * 255).round() / 255).expand(4, -1, -1, -1)
        torch.testing.assert_close(reconstructions, denoiser.purify(on_grid, noise, step=50), rtol=0, atol=1e-6)
