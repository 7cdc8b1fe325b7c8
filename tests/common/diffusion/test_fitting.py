import numpy as np
import pytest
import torch
from PIL import Image

from common.diffusion.denoiser import Denoiser
from common.diffusion.fitting import fitted, require_fits
from common.diffusion.schedule import linear_alpha_bar
from common.runtime.errors import UserError
from tests.common.formula import images


def slow_side(count, wanted):
    """[wanted, count]: the weights of antialiased bilinear interpolation along one side, from its definition."""
    scale = count / wanted
    width, weights = max(scale, 1.0), np.zeros((wanted, count))
    for i in range(wanted):
        centre = (i + 0.5) * scale
        for j in range(count):
            weights[i, j] = max(0.0, 1 - abs(j + 0.5 - centre) / width)
        weights[i] /= weights[i].sum()
    return weights


def slow_fitted(x, height, width):
    rows, columns = slow_side(x.shape[2], height), slow_side(x.shape[3], width)
    return torch.from_numpy(np.einsum("ih,bchw,jw->bcij", rows, x.numpy(), columns))


SIZES = [(8, 32), (32, 8), (28, 32), (32, 28), (5, 64), (64, 5), (7, 7), (224, 256), (9, 1), (1, 9)]


@pytest.mark.parametrize(("size", "wanted"), SIZES)
def test_resizing_is_antialiased_bilinear_interpolation_at_any_size(size, wanted):
    x = images(2, 3, size, size).double()
    expected = slow_fitted(x, wanted, wanted)
    torch.testing.assert_close(fitted(x, (3, wanted, wanted)), expected, rtol=0, atol=1e-6)


def test_height_and_width_may_differ_and_batches_change_nothing():
    x = images(3, 1, 6, 9)
    both = fitted(x, (1, 16, 4))
    torch.testing.assert_close(both.double(), slow_fitted(x.double(), 16, 4), rtol=0, atol=1e-6)
    assert torch.equal(both, torch.cat([fitted(image[None], (1, 16, 4)) for image in x]))


def test_it_is_what_pillow_computes_to_a_grey_level():
    x = (images(1, 1, 32, 32) * 255).round()
    for size in (8, 20, 64):
        pillow = np.asarray(Image.fromarray(x[0, 0].byte().numpy()).resize((size, size), Image.Resampling.BILINEAR))
        assert abs(255 * fitted(x / 255, (1, size, size))[0, 0].numpy() - pillow).max() < 1.5


def test_images_of_that_shape_are_left_as_they_are():
    x = images(2, 3, 8, 8)
    assert fitted(x, (3, 8, 8)) is x


def test_what_is_white_or_black_stays_so():
    x = torch.cat([torch.zeros(1, 3, 7, 7), torch.ones(1, 3, 7, 7)])
    assert torch.equal(fitted(x, (3, 33, 33)), torch.cat([torch.zeros(1, 3, 33, 33), torch.ones(1, 3, 33, 33)]))


def test_grey_images_are_repeated_and_coloured_ones_averaged():
    grey, coloured = images(2, 1, 4, 4), images(2, 3, 4, 4)
    assert torch.equal(fitted(grey, (3, 4, 4)), torch.cat([grey, grey, grey], dim=1))
    torch.testing.assert_close(fitted(coloured, (1, 4, 4)), (coloured[:, :1] + coloured[:, 1:2] + coloured[:, 2:]) / 3)
    with pytest.raises(ValueError, match="3 channels cannot become images of 4"):
        fitted(coloured, (4, 4, 4))


@pytest.mark.parametrize(("given", "own"), [(3, 1), (1, 4), (3, 4), (4, 3)])
def test_models_of_other_channels_are_refused(given, own):
    with pytest.raises(UserError, match=rf"half\.pt: .* images of {own} channels, .* have {given}: "):
        require_fits((given, 8, 8), (own, 8, 8), source="half.pt")


def test_models_of_any_size_are_taken_and_coloured_ones_for_grey_images():
    for given, own in [(3, 3), (1, 1), (1, 3)]:
        require_fits((given, 8, 8), (own, 256, 256), source="half.pt")


ALPHA_BAR = linear_alpha_bar(T=1000, beta_1=1e-4, beta_T=0.02)


@pytest.mark.parametrize("noising", ["ddpm", "published"])
@pytest.mark.parametrize(("channels", "size", "own"), [(3, 8, 16), (3, 16, 8), (1, 8, 20), (1, 28, 32)])
def test_purification_at_the_models_own_size_is_resizing_purifying_and_resizing_back(channels, size, own, noising):
    def predict(x, index):
        assert x.shape[1:] == (3, own, own)
        return torch.sin(3 * x + 0.01 * index.to(x).view(-1, 1, 1, 1))

    x = images(2, channels, size, size).double()
    noise = torch.sin(torch.arange(2 * 3 * own * own, dtype=torch.float64) * 1.3).reshape(2, 3, own, own)
    denoiser = Denoiser(predict, ALPHA_BAR, image_shape=(channels, size, size), own_shape=(3, own, own))
    at_own = slow_fitted(x if channels == 3 else x.repeat(1, 3, 1, 1), own, own)
    purified = slow_fitted(Denoiser(predict, ALPHA_BAR).purify(at_own, noise, step=160, noising=noising), size, size)
    expected = purified if channels == 3 else (purified.sum(dim=1, keepdim=True) / 3)
    torch.testing.assert_close(denoiser.purify(x, noise, step=160, noising=noising), expected, rtol=0, atol=1e-6)


def test_noise_of_the_images_own_size_is_refused():
    denoiser = Denoiser(lambda x, index: x, ALPHA_BAR, own_shape=(3, 16, 16))
    with pytest.raises(ValueError, match=r"expected noise \[2, 3, 16, 16\], found \[2, 1, 16, 16\]"):
        denoiser.purify(images(2, 1, 8, 8), torch.zeros(2, 1, 16, 16), step=9)
