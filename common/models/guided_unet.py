"""The UNet of improved- and guided-diffusion (Nichol and Dhariwal 2021; Dhariwal and Nichol 2021, appendix), for images
of three channels without classes, with the module tree of OpenAI's checkpoints and their names of the settings.

Images are [B, 3, H, W] in [-1, 1]; the time index is that of the schedule's beta, 0 for the first noising step.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from common.models.unet import GroupNorm, attend, sinusoids, up_sampled
from common.runtime.config import Few, Fraction, Positive, Strict, Width

CHANNELS = 3
GROUPS = 32
CHANNEL_MULT: dict[int, list[float]] = {  # what no channel_mult stands for, by image size
    512: [0.5, 1, 1, 2, 2, 4, 4],
    256: [1, 1, 2, 2, 4, 4],
    128: [1, 1, 2, 3, 4],
    64: [1, 2, 3, 4],
    32: [1, 2, 2, 2],
}


class GuidedUNetConfig(Strict):
    """Defaults are those of the published code."""

    image_size: Annotated[int, Field(gt=0, le=4096)]
    num_channels: Annotated[Width, Field(multiple_of=2)]
    num_res_blocks: Few
    channel_mult: Annotated[list[Annotated[float, Field(gt=0, le=64)]], Field(min_length=1, max_length=10)] | None = (
        None
    )
    attention_resolutions: list[Positive] = Field(default=[16, 8])  # heights of the feature maps that have attention
    num_heads: Few = 4
    num_head_channels: Width | None = None  # of one head, which then says how many there are
    use_scale_shift_norm: bool = True  # the time scales and shifts what was normalised; else it is added before
    resblock_updown: bool = False  # sizes are changed by residual blocks, else by convolutions
    use_new_attention_order: bool = False
    learn_sigma: bool = False  # the variance is predicted too: twice the channels
    dropout: Fraction = 0.0

    @property
    def widths(self) -> list[int]:
        """Channels of each level."""
        return [int(mult * self.num_channels) for mult in self.channel_mult or CHANNEL_MULT[self.image_size]]

    def has_attention(self, level: int) -> bool:
        return self.image_size // 2**level in self.attention_resolutions

    def heads(self, ch: int) -> int:
        return self.num_heads if self.num_head_channels is None else ch // self.num_head_channels

    @model_validator(mode="after")
    def _is_possible(self) -> "GuidedUNetConfig":
        if self.channel_mult is None and self.image_size not in CHANNEL_MULT:
            raise ValueError(f"channel_mult is missing, and has no default for image_size {self.image_size}")
        widths = self.widths
        if self.image_size % 2 ** (len(widths) - 1):
            raise ValueError(f"image_size {self.image_size} cannot be halved {len(widths) - 1} times (channel_mult)")
        for level, ch in enumerate(widths):
            if ch % GROUPS or not ch:
                raise ValueError(
                    f"level {level} has {ch} channels (num_channels, channel_mult), no multiple of {GROUPS}"
                )
            attention = self.has_attention(level) or level == len(widths) - 1
            if attention and ch % (self.num_head_channels or self.num_heads):
                raise ValueError(f"the {ch} channels of level {level} cannot be shared by heads of equal size")
        return self


class DownSample(nn.Module):
    def __init__(self, ch: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(ch, ch, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.op(x)


class UpSample(nn.Module):
    def __init__(self, ch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(ch, ch, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return up_sampled(x, self.conv)


class Attention(nn.Module):
    """Self-attention over the pixels, added to its input.

    qkv gives 3C channels: of each head its q, k and v, or with ``new_order`` q of all heads, then k, then v.
    """

    def __init__(self, ch: int, *, heads: int, new_order: bool) -> None:
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm = GroupNorm(GROUPS, ch)
        self.qkv = nn.Conv1d(ch, 3 * ch, 1)
        self.proj_out = nn.Conv1d(ch, ch, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(self.norm(x).flatten(2))  # [B, 3C, H * W]
        parts = qkv.unflatten(1, (3, self.heads, -1) if self.new_order else (self.heads, 3, -1))
        parts = parts if self.new_order else parts.transpose(1, 2)  # [B, 3, heads, C / heads, H * W]
        q, k, v = (part.flatten(0, 1).mT for part in parts.unbind(1))  # [B * heads, H * W, C / heads]
        h = attend(q, k, v).mT.reshape(len(x), -1, q.shape[1])  # [B, C, H * W]
        return x + self.proj_out(h).reshape(x.shape)


class ResBlock(nn.Module):
    """resample:  "up" or "down" changes the size of what is normalised, and of the input that is added"""

    def __init__(
        self, in_ch: int, out_ch: int, config: GuidedUNetConfig, *, resample: Literal["up", "down"] | None = None
    ) -> None:
        super().__init__()
        self.resample, self.scales = resample, config.use_scale_shift_norm
        self.in_layers = nn.Sequential(GroupNorm(GROUPS, in_ch), nn.SiLU(), nn.Conv2d(in_ch, out_ch, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * config.num_channels, (1 + self.scales) * out_ch))
        self.out_layers = nn.Sequential(
            GroupNorm(GROUPS, out_ch), nn.SiLU(), nn.Dropout(config.dropout), nn.Conv2d(out_ch, out_ch, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if in_ch == out_ch else nn.Conv2d(in_ch, out_ch, 1)

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        h, conv = self.in_layers[:2](x), self.in_layers[2]
        assert isinstance(conv, nn.Conv2d)
        if self.resample == "up":
            h, x = up_sampled(h, conv), F.interpolate(x, scale_factor=2, mode="nearest")
        elif self.resample == "down":
            h, x = conv(F.avg_pool2d(h, 2)), F.avg_pool2d(x, 2)
        else:
            h = conv(h)
        return self.skip_connection(x) + self._told(h, self.emb_layers(emb)[:, :, None, None])

    def _told(self, h: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        if not self.scales:
            return self.out_layers(h + time)
        scale, shift = time.chunk(2, dim=1)
        return self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)


class Stage(nn.ModuleList):
    """Layers one after the other, of which residual blocks are told the time embedding."""

    def forward(self, h: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        for layer in self:
            h = layer(h, emb) if isinstance(layer, ResBlock) else layer(h)
        return h


class GuidedUNet(nn.Module):
    """Noisy images [B, 3, H, W] and time indices [B] (int64) -> noise [B, 3, H, W], or [B, 6, H, W] with a variance.

    times:  [T], what the network is told at each index: the index, or where timesteps were rescaled a part of it
    """

    time_table: torch.Tensor

    def __init__(self, config: GuidedUNetConfig, times: Sequence[float]) -> None:
        super().__init__()
        self.config, self.times = config, list(times)
        widths, ch, last = config.widths, config.num_channels, len(config.widths) - 1

        def attention(level: int) -> list[nn.Module]:
            width = widths[level]
            new_order = config.use_new_attention_order
            return [Attention(width, heads=config.heads(width), new_order=new_order)]

        def layers(in_ch: int, level: int) -> list[nn.Module]:
            return [ResBlock(in_ch, widths[level], config), *(attention(level) if config.has_attention(level) else [])]

        table = sinusoids(torch.tensor(times, dtype=torch.float64), ch)  # [T, ch / 2, 2]
        self.register_buffer(
            "time_table", table.flip(2).mT.flatten(1), persistent=False
        )  # [T, ch]: cosines, then sines
        self.time_embed = nn.Sequential(nn.Linear(ch, 4 * ch), nn.SiLU(), nn.Linear(4 * ch, 4 * ch))
        now, skips = widths[0], [widths[0]]
        self.input_blocks = nn.ModuleList([Stage([nn.Conv2d(CHANNELS, now, 3, padding=1)])])
        for level, width in enumerate(widths):
            for _ in range(config.num_res_blocks):
                self.input_blocks.append(Stage(layers(now, level)))
                now = width
                skips.append(now)
            if level != last:
                down = ResBlock(now, now, config, resample="down") if config.resblock_updown else DownSample(now)
                self.input_blocks.append(Stage([down]))
                skips.append(now)
        self.middle_block = Stage([ResBlock(now, now, config), *attention(last), ResBlock(now, now, config)])
        self.output_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for place in range(config.num_res_blocks + 1):
                stage = Stage(layers(now + skips.pop(), level))
                now = width
                if level and place == config.num_res_blocks:
                    up = ResBlock(now, now, config, resample="up") if config.resblock_updown else UpSample(now)
                    stage.append(up)
                self.output_blocks.append(stage)
        out = 2 * CHANNELS if config.learn_sigma else CHANNELS
        self.out = nn.Sequential(GroupNorm(GROUPS, now), nn.SiLU(), nn.Conv2d(now, out, 3, padding=1))

    def forward(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        emb = self.time_embed(self.time_table[index])
        h, skips = x, []
        for stage in self.input_blocks:
            h = stage(h, emb)
            skips.append(h)
        h = self.middle_block(h, emb)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], dim=1), emb)
        return self.out(h)
