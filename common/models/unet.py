"""The noise-predicting UNet of DDPM (Ho et al., NeurIPS 2020), with the module tree of the published checkpoints.

Images are [B, C, H, W] in [-1, 1]; the time index is that of the schedule's beta, 0 for the first noising step.
"""

import math
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from common.runtime.config import Few, Fraction, NonNegative, Strict, Width, later

PUBLISHED_GROUPS = 32
FEW_PIXELS = 16 * 16  # H * W of what counts as a small image


class UNetConfig(Strict):
    ch: Annotated[Width, Field(multiple_of=2)]
    ch_mult: Annotated[list[Few], Field(min_length=1, max_length=10)]
    attn: list[NonNegative]  # levels with attention
    num_res_blocks: Few
    dropout: Fraction
    groups: Few = later(PUBLISHED_GROUPS)  # of channels, normalised together

    @model_validator(mode="after")
    def _whole_groups(self) -> "UNetConfig":
        if self.ch % self.groups:
            raise ValueError(f"ch ({self.ch}) must be a multiple of groups ({self.groups})")
        return self

    @model_validator(mode="after")
    def _attention_levels_exist(self) -> "UNetConfig":
        beyond = [level for level in self.attn if level >= len(self.ch_mult)]
        if beyond:
            raise ValueError(f"attn names level {beyond[0]}, but ch_mult has levels 0 to {len(self.ch_mult) - 1}")
        return self


class GroupNorm(nn.GroupNorm):
    """[B, C, H, W]. On a CPU small bfloat16 images go through float32, where torch is faster."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.is_cpu and x.dtype == torch.bfloat16 and x.shape[2:].numel() <= FEW_PIXELS:
            return F.group_norm(x.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps).to(
                x.dtype
            )
        return super().forward(x)


class TimeEmbedding(nn.Module):
    """Time indices [B] -> embedding [B, dim]."""

    def __init__(self, num_steps: int, ch: int, dim: int) -> None:
        super().__init__()
        table = nn.Embedding.from_pretrained(sinusoids(torch.arange(num_steps), ch).reshape(num_steps, ch))
        self.timembedding = nn.Sequential(table, nn.Linear(ch, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        return self.timembedding(t)


def sinusoids(times: torch.Tensor, ch: int) -> torch.Tensor:
    """[n, ch / 2, 2]: sin and cos of s * 10000^(-2i / ch) for each s of times [n]."""
    frequency = torch.exp(torch.arange(0, ch, 2, dtype=torch.float64) / ch * -math.log(10000))
    angle = times.double()[:, None] * frequency[None, :]
    return torch.stack([angle.sin(), angle.cos()], dim=-1).float()


class DownSample(nn.Module):
    def __init__(self, ch: int) -> None:
        super().__init__()
        self.main = nn.Conv2d(ch, ch, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.main(x)


class UpSample(nn.Module):
    def __init__(self, ch: int) -> None:
        super().__init__()
        self.main = nn.Conv2d(ch, ch, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return up_sampled(x, self.main)


def up_sampled(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """Twice the height and width by repeating pixels, then a 3x3 convolution: [B, C, H, W] -> [B, C, 2H, 2W].

    The nine weights of a window meet only 2x2 different pixels; which weights share one depends on whether the window's
    row and column are even or odd. So the sums of those weights, a 2x2 kernel for each of the four cases, give the same
    numbers, but for rounding, with 4/9 of the products.
    """
    height, width = x.shape[2:]
    x = F.pad(x, (1, 1, 1, 1))
    rows = []
    for top, tall in enumerate(_shared_weights(conv.weight, dim=2)):
        row = [
            F.conv2d(x[:, :, top : top + height + 1, left : left + width + 1], kernel, conv.bias)
            for left, kernel in enumerate(_shared_weights(tall, dim=3))
        ]
        rows.append(torch.stack([part.permute(0, 2, 3, 1) for part in row], dim=3).flatten(2, 3))  # [B, H, 2W, C]
    return torch.stack(rows, dim=2).flatten(1, 2).permute(0, 3, 1, 2)


def _shared_weights(weight: torch.Tensor, *, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three weights along ``dim`` as the two that meet different pixels, for even and for odd places."""
    first, middle, last = weight.unbind(dim)
    return torch.stack([first, middle + last], dim), torch.stack([first + middle, last], dim)


class Attention(nn.Module):
    """Self-attention over the pixels with one head, added to its input."""

    def __init__(self, ch: int, *, groups: int) -> None:
        super().__init__()
        self.group_norm = GroupNorm(groups, ch)
        self.proj_q = nn.Conv2d(ch, ch, 1)
        self.proj_k = nn.Conv2d(ch, ch, 1)
        self.proj_v = nn.Conv2d(ch, ch, 1)
        self.proj = nn.Conv2d(ch, ch, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.group_norm(x)
        q, k, v = (proj(h).flatten(2).mT for proj in (self.proj_q, self.proj_k, self.proj_v))  # [B, H * W, C]
        h = attend(q, k, v).mT.reshape(x.shape)
        return x + self.proj(h)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T C^-1/2) v, [B, H * W, C]. In bfloat16 on a CPU torch's own takes twice as long."""
    if q.is_cpu and q.dtype == torch.bfloat16:
        return torch.bmm(torch.bmm(q * q.shape[2] ** -0.5, k.mT).softmax(dim=2), v)
    return F.scaled_dot_product_attention(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1)).squeeze(1)  # of one head


class ResBlock(nn.Module):
    def __init__(self, in_ch: int, out_ch: int, *, time_dim: int, dropout: float, groups: int, attention: bool) -> None:
        super().__init__()
        self.block1 = nn.Sequential(
            GroupNorm(groups, in_ch), nn.SiLU(inplace=True), nn.Conv2d(in_ch, out_ch, 3, padding=1)
        )
        self.temb_proj = nn.Sequential(nn.SiLU(), nn.Linear(time_dim, out_ch))
        self.block2 = nn.Sequential(
            GroupNorm(groups, out_ch),
            nn.SiLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(out_ch, out_ch, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(in_ch, out_ch, 1) if in_ch != out_ch else nn.Identity()
        self.attn = Attention(out_ch, groups=groups) if attention else nn.Identity()

    def forward(self, x: torch.Tensor, temb: torch.Tensor) -> torch.Tensor:
        h = self.block1(x) + self.temb_proj(temb)[:, :, None, None]
        return self.attn(self.block2(h) + self.shortcut(x))


class UNet(nn.Module):
    """eps(x_t, t): noisy images [B, C, H, W] and time indices [B] (int64, 0 … num_steps - 1) -> noise [B, C, H, W].

    Where height or width cannot be halved as often as there are levels, the last row or column is repeated as far as
    that needs, and what comes of it is cut off again.
    """

    def __init__(self, config: UNetConfig, *, channels: int, num_steps: int) -> None:
        super().__init__()
        self.config = config
        ch, last = config.ch, len(config.ch_mult) - 1
        time_dim = 4 * ch
        self.multiple = 2**last  # of which the height and width inside are

        def block(in_ch: int, out_ch: int, attention: bool) -> ResBlock:
            return ResBlock(
                in_ch, out_ch, time_dim=time_dim, dropout=config.dropout, groups=config.groups, attention=attention
            )

        self.time_embedding = TimeEmbedding(num_steps, ch, time_dim)
        self.head = nn.Conv2d(channels, ch, 3, padding=1)
        self.downblocks = nn.ModuleList()
        now, skips = ch, [ch]
        for level, mult in enumerate(config.ch_mult):
            for _ in range(config.num_res_blocks):
                self.downblocks.append(block(now, ch * mult, level in config.attn))
                now = ch * mult
                skips.append(now)
            if level != last:
                self.downblocks.append(DownSample(now))
                skips.append(now)
        self.middleblocks = nn.ModuleList([block(now, now, True), block(now, now, False)])
        self.upblocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(config.ch_mult))):
            for _ in range(config.num_res_blocks + 1):
                self.upblocks.append(block(now + skips.pop(), ch * mult, level in config.attn))
                now = ch * mult
            if level != 0:
                self.upblocks.append(UpSample(now))
        self.tail = nn.Sequential(
            GroupNorm(config.groups, now), nn.SiLU(inplace=True), nn.Conv2d(now, channels, 3, padding=1)
        )
        self._initialise()

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        temb = self.time_embedding(t)
        height, width = x.shape[2:]
        down, right = -height % self.multiple, -width % self.multiple
        h = self.head(F.pad(x, (0, right, 0, down), mode="replicate") if down or right else x)
        skips = [h]
        for block in self.downblocks:
            h = block(h, temb) if isinstance(block, ResBlock) else block(h)
            skips.append(h)
        for block in self.middleblocks:
            h = block(h, temb)
        for block in self.upblocks:
            h = block(torch.cat([h, skips.pop()], dim=1), temb) if isinstance(block, ResBlock) else block(h)
        return self.tail(h)[:, :, :height, :width]

    def _initialise(self) -> None:
        """Xavier uniform, biases 0, and nearly silent residual branches, as in the published training."""
        quiet = [self.tail[2]]
        for module in self.modules():
            if isinstance(module, ResBlock):
                quiet.append(module.block2[3])
            elif isinstance(module, Attention):
                quiet.append(module.proj)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(module.weight, gain=1e-5 if module in quiet else 1.0)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
