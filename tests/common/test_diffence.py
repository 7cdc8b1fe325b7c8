import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from torch import nn

from common import diffence, interval_search, rng
from common.config import UNetConfig
from common.diffence import EVERYWHERE, Diffence, Interval
from common.diffusion import Denoiser, linear_alpha_bar, q_sample
from common.errors import UserError
from common.models.unet import UNet
from tests.common.formula import fill, images


def slow_select(candidates, interval):
    """The method as it is described; candidates [N + 1, K] of one image, the raw ones last."""
    label = candidates[-1].argmax()
    keepers = [(i, diffence.phi(c).item()) for i, c in enumerate(candidates) if c.argmax() == label]
    for i, phi in keepers:
        if interval.lo <= phi <= interval.hi:
            return i
    middle = (interval.lo + interval.hi) / 2
    return min(keepers, key=lambda keeper: abs(keeper[1] - middle))[0]  # of equally near ones the first


@given(arrays(np.float64, (4, 5), elements=st.floats(-5, 5)))
def test_phi_is_the_logit_of_the_top_probability(logits):
    top = np.exp(logits).max(axis=1) / np.exp(logits).sum(axis=1)
    expected = np.log(top) - np.log(1 - top)
    np.testing.assert_allclose(diffence.phi(torch.from_numpy(logits)), expected, rtol=1e-9, atol=1e-9)


def test_phi_stays_exact_where_the_top_probability_rounds_to_one():
    logits = torch.tensor([[200.0, 0.0, 0.0], [1e5, 0.0, -1e5], [3e38, -3e38, -3e38]])
    expected = [200 - math.log(2), 1e5, 2 * float(logits[2, 0]) - math.log(2)]
    np.testing.assert_allclose(diffence.phi(logits), expected, rtol=1e-12)
    assert diffence.phi(logits).dtype == torch.float64


def test_phi_of_a_tie_counts_the_other_as_an_opponent():
    np.testing.assert_allclose(diffence.phi(torch.tensor([[1.0, 1.0], [0.0, 0.0]])), 0, atol=1e-15)
    np.testing.assert_allclose(diffence.phi(torch.zeros(2, 3, 4)), np.full((2, 3), -math.log(3)))


@st.composite
def hostile_candidates(draw):
    """Logits [B, N + 1, K] full of ties, and an interval: everywhere, at the values of phi, or past all of them."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 4)))
    candidates = torch.from_numpy(draw(arrays(np.float32, shape, elements=st.sampled_from([-2, 0, 1, 1.5, 40]))))
    values = [value for value in diffence.phi(candidates).flatten().tolist() if math.isfinite(value)]
    ends = st.sampled_from([*values, -100.0, 0.3, 100.0])
    return candidates, draw(st.just(EVERYWHERE) | st.builds(lambda a, b: Interval(*sorted((a, b))), ends, ends))


@settings(max_examples=300)
@given(hostile_candidates())
def test_select_takes_the_candidate_that_a_plain_loop_takes(case):
    candidates, interval = case
    assert diffence.select(candidates, interval).tolist() == [slow_select(each, interval) for each in candidates]


@settings(max_examples=300)
@given(hostile_candidates())
def test_select_never_changes_the_argmax(case):
    candidates, interval = case
    answer = diffence.take(candidates, diffence.select(candidates, interval))
    assert torch.equal(answer.argmax(dim=1), candidates[:, -1].argmax(dim=1))


def confident(phi, label=0):
    """Two logits with this phi for this label."""
    return [phi, 0.0] if label == 0 else [0.0, phi]


@pytest.mark.parametrize(
    ("phis", "interval", "chosen"),
    [
        ([9.0, 2.0, 3.0, 1.0], Interval(2.0, 3.0), 1),  # the first inside, not the nearest to the middle
        ([9.0, 5.0, 8.0, 1.0], Interval(2.0, 3.0), 3),  # none inside: the raw one is nearest
        ([9.0, 4.0, 8.0, 0.5], Interval(2.0, 3.0), 1),  # none inside: a reconstruction is nearest
        ([9.0, 4.0, 1.0, 9.0], Interval(2.0, 3.0), 1),  # equally near: the first
        ([9.0, 4.0, 1.0, 7.0], EVERYWHERE, 0),
    ],
)
def test_select_by_hand(phis, interval, chosen):
    candidates = torch.tensor([[confident(phi) for phi in phis]])
    assert diffence.select(candidates, interval).tolist() == [chosen]


def test_candidates_that_change_the_label_are_passed_over_and_the_raw_answer_is_the_last_resort():
    turned = [confident(2.5, label=1)] * 3
    for interval in (Interval(2.0, 3.0), EVERYWHERE):
        assert diffence.select(torch.tensor([[*turned, confident(9.0)]]), interval).tolist() == [3]
        assert diffence.select(torch.tensor([[*turned, confident(2.1), confident(9.0)]]), interval).tolist() == [3]


def known_samples(seed, *, gap, n=12):
    """Candidates [n, 4, 3] of a classifier that is surer of members; some reconstructions change the label."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, 4, 3))
    logits[..., 0] += gap
    return torch.from_numpy(logits).float()


def slow_distance(members, non_members):
    """scipy's Jensen-Shannon distance between histograms filled value by value; NaN where it says nothing."""
    lo, hi = min(non_members), max(non_members)
    edges = np.linspace(lo, hi, 101)
    counts = np.zeros((2, 100))
    for count, values in zip(counts, (members, non_members), strict=True):
        for value in values:
            if lo <= value <= hi:
                count[min(np.searchsorted(edges, value, side="right") - 1, 99)] += 1
    if lo == hi or counts[0].sum() == 0:
        return math.nan
    return jensenshannon(*np.maximum(counts, 1e-19))


@pytest.mark.parametrize("seed", range(3))
def test_scenario_1_takes_the_interval_that_a_plain_loop_over_all_takes(seed):
    members, non_members = known_samples(seed, gap=2.5), known_samples(seed + 100, gap=1.0, n=15)

    def keeping(candidates):
        return [diffence.phi(c).item() for each in candidates for c in each if c.argmax() == each[-1].argmax()]

    grid = np.linspace(min(keeping(members)), max(keeping(non_members)), 21)
    distances = {}
    for a in range(21):
        for b in range(a + 1, 21):
            interval = Interval(grid[a], grid[b])
            answered = [
                [diffence.phi(each[slow_select(each, interval)]).item() for each in known]
                for known in (members, non_members)
            ]
            distances[interval] = slow_distance(*answered)
    best = min((d, i) for i, d in enumerate(distances.values()) if not math.isnan(d))[1]
    tuned = diffence.tune_interval(members, non_members, scenario=1)
    assert tuned == pytest.approx(list(distances)[best], abs=1e-12)


def plain_phi(logits):
    """log p - log(1 - p) of the top probability, in plain Python numbers."""
    top = max(logits)
    others = [math.exp(z - top) for i, z in enumerate(logits) if i != logits.index(top)]
    p = 1 / (1 + math.fsum(others))
    return math.log(p) - math.log(math.fsum(others) * p)


def plain_select(phis, lo, hi):
    inside = [value for value in phis if lo <= value <= hi]
    return inside[0] if inside else min(phis, key=lambda value: abs(value - (lo + hi) / 2))


def plain_distance(members, non_members):
    """Jensen-Shannon: the root of the mean of both divergences from the middle, natural logarithms."""
    lo, hi = min(non_members), max(non_members)
    shares = []
    for values in (members, non_members):
        counts = [0] * 100
        for value in values:
            if lo <= value <= hi:
                counts[min(int((value - lo) / (hi - lo) * 100), 99)] += 1
        if not any(counts):
            return math.nan
        clipped = [max(count, 1e-19) for count in counts]
        shares.append([count / math.fsum(clipped) for count in clipped])
    p, q = shares
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    divergences = [math.fsum(a * math.log(a / m) for a, m in zip(part, middle, strict=True)) for part in (p, q)]
    return math.sqrt(max(math.fsum(divergences), 0) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_scenario_1_is_the_direct_loop_in_plain_numbers(seed):
    """No function of the project's and none of scipy's: the interval to ten digits, and every distance too."""
    known = [known_samples(seed + 50, gap=2.0, n=40).double(), known_samples(seed + 150, gap=1.0, n=40).double()]
    kept = []  # of both kinds, for each sample the phis of the candidates that keep its label
    for part in known:
        rows = [[list(map(float, z)) for z in sample] for sample in part]
        kept.append([[plain_phi(z) for z in row if z.index(max(z)) == row[-1].index(max(row[-1]))] for row in rows])
    least, greatest = min(map(min, kept[0])), max(map(max, kept[1]))
    grid = [least + (greatest - least) * i / 20 for i in range(20)] + [greatest]  # the ends to the last bit
    distances = {}
    for a in range(21):
        for b in range(a + 1, 21):
            lo, hi = grid[a], grid[b]
            answered = [[plain_select(row, lo, hi) for row in part] for part in kept]
            distances[lo, hi] = plain_distance(*answered)
    said = {ends: distance for ends, distance in distances.items() if not math.isnan(distance)}
    tuned = diffence.tune_interval(*known, scenario=1)
    assert tuned == pytest.approx(min(said, key=said.get), abs=1e-10)
    fast = [diffence._phi_of_keepers(part).numpy() for part in known]
    own_grid = np.linspace(np.nanmin(fast[0]), np.nanmax(fast[1]), 21)
    found = interval_search.all_distances(*fast, own_grid)[np.triu_indices(21, k=1)]
    found[np.isinf(found)] = math.nan
    np.testing.assert_allclose(found, list(distances.values()), rtol=0, atol=1e-10)


def test_scenario_1_refuses_known_samples_that_do_not_overlap():
    members, non_members = known_samples(0, gap=500), known_samples(1, gap=1)
    with pytest.raises(
        UserError, match=r"do not overlap\. Give more known samples \(--num-sample\) or use --scenario 2"
    ):
        diffence.tune_interval(members, non_members, scenario=1)


@pytest.mark.parametrize("non_members", [[0.5, 0.8, 1.1, 1.5], [0.5, 0.5, 0.5, 0.5]])
def test_scenario_1_prefers_no_interval_whose_histograms_say_nothing(non_members):
    """No member falls among the non-members, or these are all alike: the published code's NaN, never a distance."""
    known, others = (torch.tensor([[confident(phi)] for phi in phis]) for phis in ([0.1, 9.0, 9.5, 8.0], non_members))
    with pytest.raises(UserError, match="no interval"):
        diffence.tune_interval(known, others, scenario=1)


def test_scenario_2_is_the_least_and_the_mean_phi_of_the_members_that_keep_their_label():
    members = torch.tensor(
        [
            [confident(4.0), confident(50.0, label=1), confident(2.0)],  # the second changes the label
            [confident(1.0, label=1), confident(12.0, label=1), confident(6.0, label=1)],
        ]
    )
    assert diffence.tune_interval(members, torch.empty(0, 3, 2), scenario=2) == pytest.approx((1.0, 5.0))


def test_the_mean_of_equal_members_is_not_below_the_least():
    members = torch.tensor([[confident(-0.40899056005747336)]] * 3)
    lo, hi = diffence.tune_interval(members, members, scenario=2)
    assert lo <= hi == pytest.approx(lo)


@pytest.mark.parametrize("scenario", [1, 2])
def test_an_interval_is_not_tuned_on_candidates_that_were_not_drawn(scenario):
    members, others = known_samples(0, gap=2.5), known_samples(1, gap=1.0)
    members[3, 1] = math.nan
    with pytest.raises(ValueError, match="not drawn"):
        diffence.tune_interval(members, others, scenario=scenario)


def test_scenario_3_accepts_the_first_candidate_that_keeps_the_label():
    tuned = diffence.tune_interval(known_samples(0, gap=2), known_samples(1, gap=1), scenario=3)
    assert tuned == EVERYWHERE
    candidates = torch.tensor([[confident(8.0, label=1), confident(-0.5), confident(3.0), confident(1.0, label=1)]])
    assert diffence.select(candidates, tuned).tolist() == [0]


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
        options = {"num_candidates": 5, "step": 60, "interval": Interval(-0.4, 0.4), **options}
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
    fenced = fence(seed=3, noising=noising)
    expected = []
    for image in X:
        candidates = []
        for j in range(5):
            noise = rng.candidate_noise([(rng.sample_key(image), j)], image.shape, seed=3)
            x_0 = reconstruct(2 * image[None] - 1, noise, denoiser.predict_noise, step=60)
            candidates.append(classifier(((x_0 + 1) / 2).clamp(0, 1))[0])
        candidates = torch.stack([*candidates, classifier(image[None])[0]]).detach()
        expected.append(candidates[slow_select(candidates, fenced.interval)])
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
    noise = rng.candidate_noise([(rng.sample_key(image), 1) for image in X], X.shape[1:], seed=0)
    x_s = a**0.5 * (2 * X - 1) + (1 - a) ** 0.5 * noise
    x_0 = x_s * (1 - 0.25 * (1 - a) ** 0.5) / a**0.5
    assert_close(fenced.candidates(X)[:, 1], classifier(((x_0 + 1) / 2).clamp(0, 1)))
    assert set(torch.cat(asked).tolist()) == {1}
    assert torch.equal(fenced(X).argmax(dim=1), classifier(X).argmax(dim=1))


@pytest.mark.parametrize("interval", [EVERYWHERE, Interval(-0.4, 0.4), Interval(-50.0, -40.0), Interval(90.0, 90.0)])
def test_the_label_is_always_the_classifiers_own(fence, classifier, interval):
    x = images(40, 1, 8, 8)
    candidates = fence(interval=interval).candidates(x)
    assert (candidates.argmax(dim=2) != candidates[:, -1:].argmax(dim=2)).any()  # some reconstructions change it
    assert torch.equal(fence(interval=interval)(x).argmax(dim=1), classifier(x).argmax(dim=1))


def same_bits(first, second):
    return torch.equal(first.nan_to_num(nan=-1e9), second.nan_to_num(nan=-1e9))


@pytest.mark.parametrize("batch_size", [None, 1, 4, 64])
def test_the_bits_of_an_answer_do_not_depend_on_the_batch_or_the_order(fence, batch_size):
    """On the CPU, where every pass has the same size; only that size changes bits."""
    fenced = fence(batch_size=batch_size)
    together = fenced.candidates(X)
    assert together.shape == (7, 6, 4)
    assert torch.equal(torch.cat([fenced.candidates(image[None]) for image in X]), together)
    order = torch.tensor([3, 6, 0, 5, 1, 4, 2])
    assert torch.equal(fenced.candidates(X[order]), together[order])
    assert torch.equal(fenced(X[order]), fenced(X)[order])
    assert_close(together, fence(batch_size=3).candidates(X))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_every_pass_has_the_batch_size(fence, denoiser, batch_size):
    sizes = []
    handle = denoiser.predict_noise.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    candidates = fence(batch_size=batch_size).candidates(X)
    handle.remove()
    assert set(sizes) == {batch_size} and len(sizes) == math.ceil(7 * 5 / batch_size)
    assert_close(candidates, fence().candidates(X))


@pytest.mark.parametrize("interval", [EVERYWHERE, Interval(-0.4, 0.4), Interval(-0.2, 0.0), Interval(90.0, 90.0)])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_lazy_draws_answer_with_the_bits_of_full_selection(fence, interval, batch_size):
    x = images(40, 1, 8, 8)
    fenced = fence(interval=interval, batch_size=batch_size)
    full = fenced.candidates(x)
    assert torch.equal(fenced(x), diffence.take(full, diffence.select(full, interval)))
    lazy = fenced.draw(x, until=interval)
    drawn = ~lazy.isnan().any(dim=2)
    assert torch.equal(lazy[drawn], full[drawn]) and drawn[:, -1].all()
    assert torch.equal(drawn[:, :-1].int().cummin(dim=1).values.bool(), drawn[:, :-1])  # in order, without gaps


def test_one_at_a_time_no_candidate_is_drawn_after_the_accepted_one(fence):
    x, interval = images(40, 1, 8, 8), Interval(-0.4, 0.4)
    fenced = fence(batch_size=1)
    full, lazy = fenced.candidates(x), fenced.draw(x, until=interval)
    for candidates, drawn in zip(full, (~lazy[:, :-1, 0].isnan()).sum(dim=1).tolist(), strict=True):
        label = candidates[-1].argmax()
        accepted = [
            j for j, c in enumerate(candidates[:-1]) if c.argmax() == label and -0.4 <= diffence.phi(c).item() <= 0.4
        ]
        assert drawn == (accepted[0] + 1 if accepted else 5)
    assert diffence.reconstructions_needed(full, interval).tolist() == (~lazy[:, :-1, 0].isnan()).sum(dim=1).tolist()


def test_what_is_known_is_not_drawn_again(fence, denoiser):
    first, second = EVERYWHERE, Interval(90.0, 90.0)
    fenced, calls = fence(batch_size=4), []
    known = fenced.draw(X, until=first)
    handle = denoiser.predict_noise.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    assert same_bits(fenced.draw(X, until=first, known=known), known) and not calls
    more = fenced.draw(X, until=second, known=known)
    handle.remove()
    kept = ~known.isnan()
    assert calls and torch.equal(more[kept], known[kept])
    full = fenced.candidates(X)
    assert same_bits(fenced.draw(X, until=None, known=more), full)
    blank = torch.full_like(full, math.nan)
    blank[:3] = known[:3]  # some images are known, others are not
    assert same_bits(fenced.draw(X, until=None, known=blank), full)


def test_ticks_count_every_image_once(fence):
    for until in (None, EVERYWHERE, Interval(-0.4, 0.4)):
        ticks = []
        fence(batch_size=3).draw(X, until=until, tick=ticks.append)
        assert sum(ticks) == len(X)


def test_a_choice_that_hangs_on_candidates_not_drawn_is_refused():
    candidates = torch.tensor([[[5.0, 0.0], [math.nan, math.nan], [1.0, 0.0]]])
    assert diffence.select(candidates, Interval(4.0, 6.0)).tolist() == [0]
    with pytest.raises(ValueError, match="not drawn"):
        diffence.select(candidates, Interval(0.5, 2.0))  # the raw one is inside, but the second may be too


def test_asking_for_more_candidates_leaves_the_first_ones_as_they_were(fence):
    few, many = fence(num_candidates=2).candidates(X), fence(num_candidates=5).candidates(X)
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
    first, other = fence(seed=0).candidates(X), fence(seed=1).candidates(X)
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
    assert fenced.candidates(X).dtype == fenced(X).dtype == kept
    assert fenced(X).tolist() == [[1.0, 2.0]] * 7


def test_in_bf16_the_classifier_keeps_its_own_precision(classifier):
    """An answer in bf16 would tell a reconstruction from the image itself, whose label needs all digits."""
    noise_free = Denoiser(lambda x, index: torch.zeros_like(x), ALPHA_BAR, precision="bf16")
    candidates = Diffence(classifier, noise_free, num_candidates=1, step=1).candidates(X)
    assert (candidates != candidates.bfloat16()).any(dim=2).all()


def test_an_interval_that_is_none_is_refused_by_the_selection_too():
    for interval in (Interval(math.nan, math.nan), Interval(2.0, 1.0), Interval(0.0, math.inf)):
        with pytest.raises(ValueError, match="interval"):
            diffence.select(torch.zeros(1, 2, 2), interval)


def test_a_plain_function_can_be_fenced(denoiser):
    fenced = Diffence(lambda x: x.flatten(1)[:, :3], denoiser, num_candidates=2, step=10)
    assert torch.equal(fenced(X).argmax(dim=1), X.flatten(1)[:, :3].argmax(dim=1))


def test_one_class_is_a_classifier_too(denoiser):
    fenced = Diffence(lambda x: x.flatten(1)[:, :1], denoiser, num_candidates=2, step=10, interval=Interval(0, 1))
    assert fenced(X).shape == (7, 1)


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
        ({"interval": Interval(2.0, 1.0)}, "lo <= hi"),
        ({"interval": Interval(math.nan, 1.0)}, "lo <= hi"),
        ({"interval": Interval(0.0, math.inf)}, "two finite numbers"),
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
