import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from common.diffusion import ddim, schedule

levels = st.floats(0.01, 0.999)


def image_and_noise():
    wave = torch.arange(24, dtype=torch.float64).reshape(2, 1, 3, 4)
    return torch.sin(wave), 2 * torch.cos(1.7 * wave)


@given(levels, levels)
def test_a_ddim_step_with_the_true_noise_lands_on_q_sample(alpha_from, alpha_to):
    x_0, noise = image_and_noise()
    x_s = schedule.q_sample(x_0, noise, alpha_bar=alpha_from)
    for clip in (False, True):  # x_0 is in [-1, 1], so clipping has nothing to do
        landed = ddim.ddim_step(x_s, noise, alpha_bar_from=alpha_from, alpha_bar_to=alpha_to, clip=clip)
        torch.testing.assert_close(landed, schedule.q_sample(x_0, noise, alpha_bar=alpha_to), rtol=0, atol=1e-10)


@given(levels)
def test_predict_x0_undoes_q_sample(alpha_bar):
    x_0, noise = image_and_noise()
    x_s = schedule.q_sample(x_0, noise, alpha_bar=alpha_bar)
    torch.testing.assert_close(ddim.predict_x0(x_s, noise, alpha_bar=alpha_bar), x_0, rtol=0, atol=1e-10)


@given(levels, levels)
def test_a_clipped_step_leads_from_the_same_image_through_a_clean_one_in_range(alpha_from, alpha_to):
    x_s, eps = (3 * part for part in image_and_noise())
    landed = ddim.ddim_step(x_s, eps, alpha_bar_from=alpha_from, alpha_bar_to=alpha_to, clip=True)
    x_0 = ((x_s - math.sqrt(1 - alpha_from) * eps) / math.sqrt(alpha_from)).clamp(-1, 1)
    noise = (x_s - math.sqrt(alpha_from) * x_0) / math.sqrt(1 - alpha_from)  # what x_s says the noise was
    torch.testing.assert_close(landed, math.sqrt(alpha_to) * x_0 + math.sqrt(1 - alpha_to) * noise)
