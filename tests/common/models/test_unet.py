import itertools
import math

import pytest
import torch

from common.models.unet import Attention, GroupNorm, UNet, UNetConfig
from tests.common.formula import fill, images
from tests.common.models.slow import slow_unet

PUBLISHED = UNetConfig(ch=128, ch_mult=[1, 2, 2, 2], attn=[1], num_res_blocks=2, dropout=0.1)


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):  # shapes alone
        return UNet(PUBLISHED, channels=3, num_steps=1000)


def test_the_published_shape_has_the_published_number_of_parameters(published):
    """35.7 million are trained, as in Ho et al.; with the table of time embeddings it is 35.9 million."""
    trained = sum(parameter.numel() for parameter in published.parameters() if parameter.requires_grad)
    assert round(trained / 1e6, 1) == 35.7
    assert sum(value.numel() for value in published.state_dict().values()) == trained + 1000 * 128


def published_keys():
    """The module tree of published checkpoints, spelled out level by level."""
    modules = {"head", "tail.0", "tail.2", "time_embedding.timembedding.1", "time_embedding.timembedding.3"}

    def residual(at, *, shortcut, attn):
        modules.update(f"{at}.{part}" for part in ("block1.0", "block1.2", "temb_proj.1", "block2.0", "block2.3"))
        modules.update({f"{at}.shortcut"} if shortcut else ())
        modules.update(f"{at}.attn.{part}" for part in ("group_norm", "proj_q", "proj_k", "proj_v", "proj") if attn)

    # two residual blocks a level; 2, 5 and 8 are down-samplers; channels change once, from 128 to 256
    for i in (0, 1, 3, 4, 6, 7, 9, 10):
        residual(f"downblocks.{i}", shortcut=i == 3, attn=i in (3, 4))
    for i in (0, 1):
        residual(f"middleblocks.{i}", shortcut=False, attn=i == 0)
    # three residual blocks a level, all fed with [h, skip]; 3, 7 and 11 are up-samplers
    for i in (0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14):
        residual(f"upblocks.{i}", shortcut=True, attn=i in (8, 9, 10))
    modules |= {f"downblocks.{i}.main" for i in (2, 5, 8)} | {f"upblocks.{i}.main" for i in (3, 7, 11)}
    keys = {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}
    return keys | {"time_embedding.timembedding.0.weight"}


def test_the_keys_are_those_of_published_checkpoints(published):
    assert published.state_dict().keys() == published_keys()


def test_the_published_shapes_of_some_weights(published):
    shapes = {key: tuple(value.shape) for key, value in published.state_dict().items()}
    for key, shape in {
        "head.weight": (128, 3, 3, 3),
        "tail.2.weight": (3, 128, 3, 3),
        "time_embedding.timembedding.0.weight": (1000, 128),
        "time_embedding.timembedding.1.weight": (512, 128),
        "downblocks.3.shortcut.weight": (256, 128, 1, 1),
        "downblocks.3.temb_proj.1.weight": (256, 512),
        "downblocks.3.attn.proj_q.weight": (256, 256, 1, 1),
        "upblocks.0.block1.2.weight": (256, 512, 3, 3),
        "upblocks.12.block1.2.weight": (128, 384, 3, 3),
        "upblocks.14.block1.2.weight": (128, 256, 3, 3),
    }.items():
        assert shapes[key] == shape, key


def test_the_time_table_is_sine_and_cosine_interleaved():
    table = UNet(SMALL, channels=1, num_steps=50).state_dict()["time_embedding.timembedding.0.weight"]
    assert table.shape == (50, 32)
    for s, i in [(0, 0), (1, 0), (7, 3), (49, 15)]:
        angle = s * 10000 ** (-2 * i / 32)
        assert table[s, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert table[s, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


SMALL = UNetConfig(ch=32, ch_mult=[1, 2, 2], attn=[1], num_res_blocks=2, dropout=0.5)


@pytest.mark.parametrize(("channels", "ch", "groups"), [(1, 32, 32), (3, 32, 32), (1, 16, 8)])
def test_it_computes_what_its_weights_say(channels, ch, groups):
    config = SMALL.model_copy(update={"ch": ch, "groups": groups})
    net = fill(UNet(config, channels=channels, num_steps=20).double()).eval()
    x, t = 2 * images(3, channels, 8, 8).double() - 1, torch.tensor([0, 7, 19])
    expected = slow_unet(net.state_dict(), x, t, groups=groups)
    assert expected.std() > 0.01
    torch.testing.assert_close(net(x, t), expected, rtol=0, atol=1e-10)


def test_a_new_network_says_almost_nothing_and_has_no_biases():
    net = UNet(SMALL, channels=1, num_steps=20).eval()
    assert net(images(2, 1, 8, 8), torch.tensor([0, 19])).abs().max() < 1e-3
    assert all((value == 0).all() for key, value in net.state_dict().items() if key.endswith("bias"))
    head, quiet = net.head.weight, net.downblocks[0].block2[3].weight
    assert head.abs().max().item() == pytest.approx(math.sqrt(6 / (9 * 1 + 9 * 32)), rel=0.05)  # Xavier uniform
    assert quiet.abs().max().item() == pytest.approx(1e-5 * math.sqrt(6 / (9 * 32 + 9 * 32)), rel=0.05)


@pytest.mark.parametrize(
    ("ch", "groups", "word"), [(48, 32, "ch .48. must be a multiple of groups"), (15, 5, "multiple of 2")]
)
def test_channels_are_shared_evenly_by_the_groups(ch, groups, word):
    with pytest.raises(ValueError, match=word):
        UNetConfig(ch=ch, ch_mult=[1], attn=[], num_res_blocks=1, dropout=0.0, groups=groups)


def test_the_time_table_is_not_trained():
    net = UNet(SMALL, channels=1, num_steps=20)
    assert not net.time_embedding.timembedding[0].weight.requires_grad


@pytest.mark.parametrize("size", [4, 16, 17])
def test_norms_of_bf16_images_are_those_of_float32_to_rounding(size):
    norm = fill(GroupNorm(32, 64))
    x = (3 * images(2, 64, size, size) + 1).bfloat16()
    exact = norm(x.float())
    rounded = norm.bfloat16()(x)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=2**-7, atol=2**-7)


@torch.no_grad()
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_attention_is_its_formula_to_rounding(precision):
    draws, attention = torch.Generator().manual_seed(0), Attention(96, groups=32)
    for projection in (attention.proj_q, attention.proj_k, attention.proj_v):
        projection.weight.copy_(torch.randn(96, 96, 1, 1, generator=draws) / math.sqrt(96))
    attention.proj.weight.copy_(torch.eye(96)[:, :, None, None])  # so that it adds no rounding
    attention.proj.bias.zero_()
    attention.to(precision)
    x = torch.randn(3, 96, 4, 4, generator=draws).to(precision)
    h = attention.group_norm(x)
    q, k, v = (part(h).double().flatten(2).mT for part in (attention.proj_q, attention.proj_k, attention.proj_v))
    expected = torch.zeros(3, 16, 96, dtype=torch.float64)
    for image, pixel in itertools.product(range(3), range(16)):
        weights = [math.exp(float(q[image, pixel] @ other) / math.sqrt(96)) for other in k[image]]
        for weight, value in zip(weights, v[image], strict=True):
            expected[image, pixel] += weight / math.fsum(weights) * value
    added = (attention(x).double() - x.double()).flatten(2).mT
    torch.testing.assert_close(added, expected, rtol=0, atol=8 * torch.finfo(precision).eps)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_an_image_has_the_same_bits_at_any_place_of_a_pass_and_in_any_company(precision):
    net = fill(UNet(SMALL, channels=3, num_steps=20)).to(precision).to(memory_format=torch.channels_last).eval()
    x, t = (2 * images(32, 3, 8, 8) - 1).to(precision), torch.full((16,), 7)
    alone = net(x[:16], t)
    order = torch.tensor([5, 20, 21, 0, 22, 15, 23, 24, 25, 26, 7, 27, 28, 29, 30, 8])
    mixed = net(x[order], t)
    for place, image in enumerate(order.tolist()):
        assert image >= 16 or torch.equal(mixed[place], alone[image])


def test_images_that_cannot_be_halved_are_lengthened_by_their_border_and_cut_again():
    config = UNetConfig(ch=8, ch_mult=[1, 1, 1], attn=[1], num_res_blocks=1, dropout=0.0, groups=4)
    unet, x, t = fill(UNet(config, channels=3, num_steps=5)).eval(), images(2, 3, 5, 7), torch.tensor([1, 4])
    longer = torch.cat([x, x[:, :, -1:].expand(-1, -1, 3, -1)], dim=2)
    longer = torch.cat([longer, longer[..., -1:]], dim=3)  # [2, 3, 8, 8]
    with torch.no_grad():
        assert torch.equal(unet(x, t), unet(longer, t)[:, :, :5, :7])
