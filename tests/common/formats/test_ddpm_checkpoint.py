"""A checkpoint and its flags file for images of another shape than the dataset's."""

import pytest
import torch

from common.diffusion.denoiser import Denoiser
from common.diffusion.schedule import linear_alpha_bar
from common.formats import ddpm_checkpoint
from common.models.unet import UNet, UNetConfig
from common.runtime import checkpoints
from common.runtime.device import Compute
from common.runtime.errors import UserError
from tests.common.diffusion.test_fitting import slow_fitted
from tests.common.formula import fill, images

CONFIG = UNetConfig(ch=8, ch_mult=[1, 2], attn=[1], num_res_blocks=1, dropout=0.1, groups=4)
FLAGS = """--ch=8
--ch_mult=1
--ch_mult=2
--attn=1
--groups=4
--num_res_blocks=1
--dropout=0.1
--T=1000
--beta_1=0.0001
--beta_T=0.02
--img_size=16
--mean_type=epsilon
"""


def save(folder, *, channels=3):
    unet = fill(UNet(CONFIG, channels=channels, num_steps=1000))
    checkpoints.save(folder / "half.pt", {"ema_model": unet.state_dict()})
    (folder / "half.txt").write_text(FLAGS)
    return unet.eval()


def load(folder, **shape):
    return ddpm_checkpoint.load_denoiser(
        folder / "half.pt", folder / "half.txt", **shape, compute=Compute(torch.device("cpu"))
    ).denoiser


@pytest.mark.parametrize(("channels", "size"), [(3, 16), (3, 8), (3, 28), (1, 8)])
def test_images_are_purified_at_the_size_and_in_the_channels_of_the_model(tmp_path, channels, size):
    unet, denoiser = save(tmp_path).double(), load(tmp_path, channels=channels, image_size=size).double()
    assert denoiser.shape_of((channels, size, size)) == (3, 16, 16)
    x = images(2, channels, size, size).double()
    noise = torch.sin(torch.arange(2 * 3 * 16 * 16, dtype=torch.float64) * 1.3).reshape(2, 3, 16, 16)
    coloured = slow_fitted(x, 16, 16).expand(-1, 3, -1, -1)
    alone = Denoiser(unet, linear_alpha_bar(T=1000, beta_1=1e-4, beta_T=0.02))
    with torch.no_grad():
        expected = slow_fitted(alone.purify(coloured, noise, step=160), size, size)
    expected = expected if channels == 3 else expected.mean(dim=1, keepdim=True)
    torch.testing.assert_close(denoiser.purify(x, noise, step=160), expected, rtol=0, atol=1e-6)


def test_a_grey_model_is_refused_for_coloured_images(tmp_path):
    save(tmp_path, channels=1)
    with pytest.raises(UserError, match=r"half\.pt: the diffusion model is for images of 1 channels"):
        load(tmp_path, channels=3, image_size=16)
