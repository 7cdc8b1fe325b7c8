import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.diffusion import schedule

ALPHA_BAR = schedule.linear_alpha_bar(T=1000, beta_1=1e-4, beta_T=0.02)
levels = st.floats(0.01, 0.999)


def test_alpha_bar_is_the_product_of_the_first_betas_removed():
    betas = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
    assert ALPHA_BAR.shape == (1001,) and ALPHA_BAR.dtype == torch.float64
    assert ALPHA_BAR[0] == 1
    for step in (1, 2, 160, 1000):
        assert ALPHA_BAR[step].item() == pytest.approx(math.prod(1 - beta for beta in betas[:step]), rel=1e-12)


@pytest.mark.parametrize("T", [1, 50, 1000, 4000])
def test_the_cosine_schedule_is_its_formula_until_betas_are_clipped(T):
    def f(s):
        return math.cos((s / T + 0.008) / 1.008 * math.pi / 2) ** 2

    alpha_bar = schedule.cosine_alpha_bar(T=T)
    assert alpha_bar.shape == (T + 1,) and alpha_bar.dtype == torch.float64 and alpha_bar[0] == 1
    for s in range(1, T, max(1, T // 50)):
        assert alpha_bar[s].item() == pytest.approx(f(s) / f(0), rel=1e-9)
    assert alpha_bar[T].item() == pytest.approx(0.001 * alpha_bar[T - 1].item(), rel=1e-9)  # by the formula it is 0


@given(levels)
def test_q_sample_has_the_mean_and_variance_of_the_forward_process(alpha_bar):
    """Noise of +1 and -1 has mean 0 and variance 1, so two points give both moments exactly."""
    x_0 = torch.tensor([0.3, -1.0], dtype=torch.float64)
    points = torch.stack([schedule.q_sample(x_0, torch.full_like(x_0, n), alpha_bar=alpha_bar) for n in (1, -1)])
    torch.testing.assert_close(points.mean(dim=0), math.sqrt(alpha_bar) * x_0)
    torch.testing.assert_close(points.var(dim=0, correction=0), torch.full_like(x_0, 1 - alpha_bar))


def test_published_noise_has_1_31_times_too_much_signal_at_step_160():
    x_0, noise, alpha_bar = (
        torch.ones(1, dtype=torch.float64),
        torch.zeros(1, dtype=torch.float64),
        ALPHA_BAR[160].item(),
    )
    ratio = schedule.published_noise(x_0, noise, alpha_bar=alpha_bar) / schedule.q_sample(
        x_0, noise, alpha_bar=alpha_bar
    )
    assert ratio.item() == pytest.approx(1 / alpha_bar, rel=1e-12) and round(ratio.item(), 2) == 1.31
    noised = schedule.published_noise(noise, x_0, alpha_bar=alpha_bar)
    assert noised.item() == pytest.approx(math.sqrt(1 / alpha_bar - 1), rel=1e-12)
