import pytest
import torch
from pydantic import ValidationError

from common.models.guided_unet import GuidedUNet, GuidedUNetConfig
from tests.common.formula import fill, images
from tests.common.models.slow import slow_guided_unet

SMALL = {"image_size": 8, "num_channels": 32, "num_res_blocks": 1, "channel_mult": [1, 2], "attention_resolutions": [4]}


def residual(at, *, skip):
    layers = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3"]
    return [f"{at}.{layer}" for layer in [*layers, *(["skip_connection"] if skip else [])]]


def attention(at):
    return [f"{at}.{layer}" for layer in ("norm", "qkv", "proj_out")]


def expected_names(*, updown):
    """Of the weights of ``SMALL``, by hand."""
    modules = ["time_embed.0", "time_embed.2", "input_blocks.0.0"]
    modules += residual("input_blocks.1.0", skip=False)
    modules += residual("input_blocks.2.0", skip=False) if updown else ["input_blocks.2.0.op"]
    modules += residual("input_blocks.3.0", skip=True) + attention("input_blocks.3.1")
    modules += residual("middle_block.0", skip=False) + attention("middle_block.1")
    modules += residual("middle_block.2", skip=False)
    modules += residual("output_blocks.0.0", skip=True) + attention("output_blocks.0.1")
    modules += residual("output_blocks.1.0", skip=True) + attention("output_blocks.1.1")
    modules += residual("output_blocks.1.2", skip=False) if updown else ["output_blocks.1.2.conv"]
    modules += residual("output_blocks.2.0", skip=True) + residual("output_blocks.3.0", skip=True)
    modules += ["out.0", "out.2"]
    return {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}


@pytest.mark.parametrize("updown", [False, True])
def test_the_names_of_the_weights_are_those_of_published_checkpoints(updown):
    unet = GuidedUNet(GuidedUNetConfig(**SMALL, resblock_updown=updown), range(10))
    assert unet.state_dict().keys() == expected_names(updown=updown)


def test_the_imagenet_model_has_the_published_number_of_parameters_and_shapes():
    config = GuidedUNetConfig(
        image_size=256, num_channels=256, num_res_blocks=2, attention_resolutions=[32, 16, 8], num_head_channels=64,
        resblock_updown=True, learn_sigma=True,
    )  # fmt: skip
    with torch.device("meta"):
        weights = GuidedUNet(config, range(1000)).state_dict()
    assert sum(weight.numel() for weight in weights.values()) == 552_814_086  # 2.21 GB in float32
    for name, shape in {
        "input_blocks.0.0.weight": (256, 3, 3, 3),
        "time_embed.0.weight": (1024, 256),
        "input_blocks.17.1.qkv.weight": (3072, 1024, 1),
        "output_blocks.0.0.in_layers.2.weight": (1024, 2048, 3, 3),
        "out.2.weight": (6, 256, 3, 3),
    }.items():
        assert tuple(weights[name].shape) == shape, name


DOWN, UP = ["input_blocks.2.0"], ["output_blocks.1.2"]
VARIANTS = {
    "improved": ({"num_heads": 4}, {"heads": lambda ch: 4}),
    "guided": (
        {"num_head_channels": 16, "resblock_updown": True, "learn_sigma": True},
        {"heads": lambda ch: ch // 16, "down": DOWN, "up": UP},
    ),
    "new order": (
        {"num_head_channels": 32, "use_new_attention_order": True, "attention_resolutions": [8, 4]},
        {"heads": lambda ch: ch // 32, "new_order": True},
    ),
    "added time": ({"num_heads": 1, "use_scale_shift_norm": False}, {"heads": lambda ch: 1, "scales": False}),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rescaled", [False, True])
def test_it_computes_what_its_weights_say(variant, rescaled):
    options, slow_options = VARIANTS[variant]
    times = [0.25 * i if rescaled else i for i in range(400)]
    unet = fill(GuidedUNet(GuidedUNetConfig(**(SMALL | options)), times)).double().eval()
    x = 2 * images(2, 3, 8, 8).double() - 1
    for index in (0, 3, 399):
        found = unet(x, torch.tensor([index, index])).detach()
        expected = slow_guided_unet(unet.state_dict(), x, times[index], num_channels=32, **slow_options)
        assert found.shape[1] == (6 if options.get("learn_sigma") else 3)
        assert expected.std() > 0.1
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)  # the table of sines is float32


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_lower_precision_is_the_same_to_rounding(dtype, tolerance):
    unet = fill(GuidedUNet(GuidedUNetConfig(**SMALL, resblock_updown=True), range(10))).eval()
    x, index = 2 * images(2, 3, 8, 8) - 1, torch.tensor([7, 7])
    exact = unet.double()(x.double(), index).detach()
    unet.to(dtype).to(memory_format=torch.channels_last)
    found = unet(x.to(dtype), index).detach()
    assert found.dtype == dtype
    assert (found.double() - exact).abs().mean() < tolerance < exact.std()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"channel_mult": None}, "has no default for image_size 8"),
        ({"image_size": 9}, "cannot be halved 1 times"),
        ({"num_channels": 40}, "level 0 has 40 channels"),
        ({"channel_mult": [0.01, 1]}, "level 0 has 0 channels"),
        ({"num_heads": 5}, "the 64 channels of level 1 cannot be shared by heads of equal size"),
        ({"num_head_channels": 48}, "the 64 channels of level 1 cannot be shared"),
        ({"image_size": 10**9}, "image_size"),
        ({"attention_resolutions": "32,16,8"}, "attention_resolutions"),
    ],
)
def test_what_is_no_such_network_is_refused(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        GuidedUNetConfig(**(SMALL | changes))
