import itertools
import math

import pytest
import torch

from common.diffusion import schedule
from common.diffusion.denoiser import Denoiser
from tests.common.formula import images

ALPHA_BAR = schedule.linear_alpha_bar(T=1000, beta_1=1e-4, beta_T=0.02)


MU, S = 0.1, 0.2  # data from N(MU, S^2), in the scale of [-1, 1]


def exact_denoiser():
    """E[noise | x_s] when the data are Gaussian: x_s ~ N(sqrt(a) MU, a S^2 + 1 - a)."""

    def eps(x_s, index):
        a = ALPHA_BAR[index + 1].view(-1, 1, 1, 1)
        return (1 - a).sqrt() * (x_s - a.sqrt() * MU) / (a * S**2 + 1 - a)

    return Denoiser(eps, ALPHA_BAR)


@pytest.mark.parametrize("step", [40, 160, 400])
def test_purifying_gaussian_data_exactly_gives_the_variance_of_the_posterior_mean(step):
    """Four points with the data's and the noise's moments; the exact denoiser is linear, so nothing is approximate."""
    corners = torch.tensor(list(itertools.product([-1, 1], [-1, 1])), dtype=torch.float64)
    x_0, noise = MU + S * corners[:, 0], corners[:, 1]
    purified = 2 * exact_denoiser().purify((x_0.view(4, 1, 1, 1) + 1) / 2, noise.view(4, 1, 1, 1), step=step) - 1
    a = ALPHA_BAR[step].item()
    assert purified.mean().item() == pytest.approx(MU, abs=1e-12)
    assert purified.var(correction=0).item() == pytest.approx(a * S**4 / (a * S**2 + 1 - a), rel=1e-10)


def test_sampling_with_the_exact_denoiser_reaches_the_data_distribution():
    """DDIM in small jumps transports quantiles, so z standard deviations stay z standard deviations."""
    z = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    samples = 2 * exact_denoiser().sample(z.view(5, 1, 1, 1), num_jumps=1000).flatten() - 1
    torch.testing.assert_close(samples, MU + S * z, rtol=0, atol=0.01)


def test_purified_images_stay_in_the_range_of_images():
    denoiser = Denoiser(lambda x, index: torch.zeros_like(x), ALPHA_BAR)
    purified = denoiser.purify(torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1), torch.ones(3, 1, 1, 1), step=500)
    assert purified.min() >= 0
    assert purified.max() == 1


def recording_denoiser(T):
    asked = []

    def predict(x, index):
        assert index.dtype == torch.int64 and len(set(index.tolist())) == 1 and len(index) == len(x)
        asked.append(index[0].item())
        return torch.zeros_like(x)

    return Denoiser(predict, schedule.linear_alpha_bar(T=T, beta_1=0.01, beta_T=0.1)), asked


def test_the_network_is_told_the_index_of_the_last_beta_used():
    denoiser, asked = recording_denoiser(10)
    denoiser.purify(torch.rand(2, 1, 2, 2), torch.zeros(2, 1, 2, 2), step=7)
    assert asked == [6]


@pytest.mark.parametrize(
    ("num_jumps", "indices"), [(1, [9]), (2, [9, 4]), (5, [9, 7, 5, 3, 1]), (50, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0])]
)
def test_sampling_jumps_evenly_from_the_last_step_and_never_stands_still(num_jumps, indices):
    denoiser, asked = recording_denoiser(10)
    denoiser.sample(torch.zeros(1, 1, 2, 2), num_jumps=num_jumps)
    assert asked == indices


@pytest.mark.parametrize(
    "values", [[0.9, 0.5], [1.0, 0.5, 0.5], [1.0, 0.5, 0.6], [1.0, 0.5, 0.0], [1.0, math.nan], [[1.0, 0.5]]]
)
def test_a_schedule_that_is_none_is_refused(values):
    with pytest.raises(ValueError, match=r"alpha_bar must be \[T \+ 1\]"):
        Denoiser(lambda x, index: x, torch.tensor(values))


@pytest.mark.parametrize(("step", "to"), [(-1, 0), (0, 0), (2, 2), (1, -1), (99, 0)])
def test_jumps_that_do_not_fall_or_leave_the_schedule_are_refused(step, to):
    denoiser = Denoiser(lambda x, t: torch.zeros_like(x), torch.tensor([1.0, 0.9, 0.5]))
    with pytest.raises(ValueError, match="step"):
        denoiser(torch.zeros(1, 1, 2, 2), step=step, to=to)


class _Seen(torch.nn.Module):
    """Remembers the type of what it is given, and answers with a weight times it."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.3))
        self.given = []

    def forward(self, x, index):
        self.given.append(x.dtype)
        return self.weight * x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bf16_is_the_predictors_business_alone(dtype):
    x, noise = images(2, 1, 4, 4).to(dtype), torch.ones(2, 1, 4, 4, dtype=dtype)
    alpha_bar = schedule.linear_alpha_bar(T=100, beta_1=1e-4, beta_T=0.02)
    exact = Denoiser(_Seen().to(dtype), alpha_bar).purify(x, noise, step=50)
    seen = _Seen()
    rounded = Denoiser(seen, alpha_bar, precision="bf16").purify(x, noise, step=50)
    assert seen.given == [torch.bfloat16] and seen.weight.dtype == torch.bfloat16
    assert rounded.dtype == exact.dtype == dtype
    torch.testing.assert_close(rounded, exact, rtol=0, atol=2**-8)
    assert not torch.equal(rounded, exact)


def abar_of_the_published_code(index):
    """cumprod(1 - beta)[index], counted from 0."""
    betas = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
    return math.prod(1 - beta for beta in betas[: index + 1])


def lively(x, index):
    """A noise predictor that depends on image and time."""
    return torch.sin(3 * x + 0.01 * index.to(x).view(-1, 1, 1, 1))


def purified_pixel(x, noise, *, T, noising):
    """One pixel through both purifications in plain Python numbers."""
    x, i = 2 * x - 1, T - 1
    if noising == "ddpm":
        x_t = math.sqrt(abar_of_the_published_code(i)) * x + math.sqrt(1 - abar_of_the_published_code(i)) * noise
        told, start, end = i, abar_of_the_published_code(i), 1.0
    else:
        x_t = (
            math.sqrt(1 / abar_of_the_published_code(i)) * x + math.sqrt(1 / abar_of_the_published_code(i) - 1) * noise
        )
        told, start, end = T, abar_of_the_published_code(T), abar_of_the_published_code(0)
    eps = math.sin(3 * x_t + 0.01 * told)
    x_0 = (x_t - math.sqrt(1 - start) * eps) / math.sqrt(start)
    y = math.sqrt(end) * x_0 + math.sqrt(1 - end) * eps
    return min(max((y + 1) / 2, 0.0), 1.0)


@pytest.mark.parametrize("noising", ["ddpm", "published"])
@pytest.mark.parametrize("step", [1, 40, 160, 999])
def test_purification_is_that_of_plain_numbers(noising, step):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    purified = Denoiser(lively, ALPHA_BAR).purify(x, noise, step=step, noising=noising)
    pixels = zip(x.flatten().tolist(), noise.flatten().tolist(), strict=True)
    expected = [purified_pixel(*pixel, T=step, noising=noising) for pixel in pixels]
    torch.testing.assert_close(purified.flatten(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10)
    if noising == "published":
        standard = Denoiser(lively, ALPHA_BAR).purify(x, noise, step=step)
        assert (standard - purified).abs().max() > 1e-3


def test_the_published_noising_tells_the_network_one_step_more_and_so_has_one_step_less():
    denoiser, asked = recording_denoiser(10)
    x, noise = torch.rand(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    denoiser.purify(x, noise, step=7, noising="published")
    assert asked == [7]
    denoiser.purify(x, noise, step=schedule.fence_steps(10, "published")[1], noising="published")
    with pytest.raises(ValueError, match="step"):
        denoiser.purify(x, noise, step=10, noising="published")
    denoiser.purify(x, noise, step=schedule.fence_steps(10, "ddpm")[1])
    assert asked == [7, 9, 9]
    with pytest.raises(ValueError, match="noising"):
        denoiser.purify(x, noise, step=7, noising="other")
