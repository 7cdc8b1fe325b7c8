"""OpenAI's UNet beside diffusers' own, which computes such networks where all levels have heads of one size."""

import diffusers
import pytest
import torch

from common.models.guided_unet import GuidedUNet, GuidedUNetConfig
from tests.common.formula import fill, images

LAYERS = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
BLOCKS = {  # of a network of two levels with one residual block each
    "input_blocks.1.0": "down_blocks.0.resnets.0",
    "input_blocks.2.0": "down_blocks.0.downsamplers.0",
    "input_blocks.3.0": "down_blocks.1.resnets.0",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.2": "mid_block.resnets.1",
    "output_blocks.0.0": "up_blocks.0.resnets.0",
    "output_blocks.1.0": "up_blocks.0.resnets.1",
    "output_blocks.1.2": "up_blocks.0.upsamplers.0",
    "output_blocks.2.0": "up_blocks.1.resnets.0",
    "output_blocks.3.0": "up_blocks.1.resnets.1",
}
ATTENTIONS = {
    "input_blocks.3.1": "down_blocks.1.attentions.0",
    "middle_block.1": "mid_block.attentions.0",
    "output_blocks.0.1": "up_blocks.0.attentions.0",
    "output_blocks.1.1": "up_blocks.0.attentions.1",
}
OTHERS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
HEAD = 16  # channels of a head


def as_diffusers_has_them(weights, *, new_order):
    names = OTHERS | {f"{ours}.{a}": f"{theirs}.{b}" for ours, theirs in BLOCKS.items() for a, b in LAYERS.items()}
    names |= {f"{ours}.norm": f"{theirs}.group_norm" for ours, theirs in ATTENTIONS.items()}
    names |= {f"{ours}.proj_out": f"{theirs}.to_out.0" for ours, theirs in ATTENTIONS.items()}
    found = {}
    for key, value in weights.items():
        module, _, kind = key.rpartition(".")
        if module in names:
            found[f"{names[module]}.{kind}"] = (
                value.squeeze(2) if module.endswith("proj_out") and value.ndim > 1 else value
            )
        elif module.endswith(".qkv"):
            rows = value.squeeze(2) if kind == "weight" else value
            for part, name in enumerate(("to_q", "to_k", "to_v")):
                channels = len(rows) // 3
                of_part = range(part * channels, (part + 1) * channels)
                if not new_order:  # q, k and v of the first head, then those of the second
                    of_part = [row for row in range(3 * channels) if row // HEAD % 3 == part]
                found[f"{ATTENTIONS[module.removesuffix('.qkv')]}.{name}.{kind}"] = rows[list(of_part)]
        else:
            raise AssertionError(key)
    return found


@pytest.mark.parametrize("new_order", [False, True])
@pytest.mark.parametrize("scales", [False, True])
def test_diffusers_computes_the_same_from_the_same_weights(scales, new_order):
    config = GuidedUNetConfig(
        image_size=8, num_channels=32, num_res_blocks=1, channel_mult=[1, 2], attention_resolutions=[4],
        num_head_channels=HEAD, resblock_updown=True, learn_sigma=True,
        use_scale_shift_norm=scales, use_new_attention_order=new_order,
    )  # fmt: skip
    ours = fill(GuidedUNet(config, range(1000))).double().eval()
    theirs = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=6, block_out_channels=(32, 64), layers_per_block=1,
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"), upsample_type="resnet",
        up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"), attention_head_dim=HEAD, attn_norm_num_groups=32,
        resnet_time_scale_shift="scale_shift" if scales else "default",
    )  # fmt: skip
    theirs.load_state_dict(as_diffusers_has_them(ours.state_dict(), new_order=new_order))
    theirs.double().eval()
    x, index = 2 * images(2, 3, 8, 8).double() - 1, torch.tensor([160, 160])
    expected = theirs(x, index).sample
    torch.testing.assert_close(ours(x, index), expected, rtol=0, atol=1e-4)  # their time embedding is float32
    assert expected.std() > 0.1
