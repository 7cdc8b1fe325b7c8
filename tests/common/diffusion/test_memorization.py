import pytest
import torch

from common.diffusion.denoiser import Denoiser
from common.diffusion.memorization import reconstruction_errors
from tests.common.diffusion.test_denoiser import ALPHA_BAR, MU, S, exact_denoiser
from tests.common.formula import images


@pytest.mark.parametrize("step", [40, 160])
def test_errors_of_gaussian_data_are_squared_bias_and_variance_of_the_posterior_mean(step):
    """Given x_0 the exact denoiser says MU + k (x_s - sqrt(a) MU): a closed form, of which images show a quarter."""
    x_0 = torch.tensor([MU - 2 * S, MU, MU + S], dtype=torch.float64)
    x = ((x_0 + 1) / 2).view(3, 1, 1, 1).expand(3, 1, 32, 32)
    a = ALPHA_BAR[step].item()
    k = a**0.5 * S**2 / (a * S**2 + 1 - a)
    expected = (((k * a**0.5 - 1) * (x_0 - MU)) ** 2 + k**2 * (1 - a)) / 4
    found = reconstruction_errors(exact_denoiser(), x, step=step, draws=20, seed=0)
    torch.testing.assert_close(found, expected, rtol=0.06, atol=1e-6)


def test_a_model_that_knows_its_training_images_by_heart_is_found_out():
    known, others = images(4, 1, 8, 8), images(8, 1, 8, 8)[4:]

    def eps(x_s, index):
        a = ALPHA_BAR[index + 1].view(-1, 1, 1, 1).to(x_s.dtype)
        clean = 2 * known - 1
        nearest = (x_s[:, None] / a.sqrt()[:, None] - clean).square().sum(dim=(2, 3, 4)).argmin(dim=1)
        return (x_s - a.sqrt() * clean[nearest]) / (1 - a).sqrt()

    errors = reconstruction_errors(Denoiser(eps, ALPHA_BAR), torch.cat([known, others]), step=40, draws=2, seed=1)
    assert errors[:4].max() < 1e-9 < 1e-3 < errors[4:].min()


def test_errors_depend_on_the_seed_alone():
    x, zero = images(300, 1, 8, 8), Denoiser(lambda x, index: torch.zeros_like(x), ALPHA_BAR)
    first, again, other = (reconstruction_errors(zero, x, step=160, draws=2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
