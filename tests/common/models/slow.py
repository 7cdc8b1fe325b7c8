"""The published networks once more, from nothing but the names and values of their weights."""

import math
import re

import torch
from torch.nn import functional as F


def slow_resnet(weights, x):
    """Logits [B, K] of normalised images [B, C, H, W], by the names of published checkpoints.

    Norms are those of batches where there are running statistics, else of min(32, C) groups.
    """

    def conv(at, x, stride):
        weight = weights[f"{at}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def norm(at, x):
        if f"{at}.running_mean" in weights:
            mean, var = weights[f"{at}.running_mean"][:, None, None], weights[f"{at}.running_var"][:, None, None]
            normal = (x - mean) / torch.sqrt(var + 1e-5)
        else:
            normal = group_normalised(x, min(32, x.shape[1]))
        return normal * weights[f"{at}.weight"][:, None, None] + weights[f"{at}.bias"][:, None, None]

    def block(at, x, stride):
        h = norm(f"{at}.residual_function.1", conv(f"{at}.residual_function.0", x, stride)).clamp(min=0)
        h = norm(f"{at}.residual_function.4", conv(f"{at}.residual_function.3", h, 1))
        if f"{at}.shortcut.0.weight" in weights:
            x = norm(f"{at}.shortcut.1", conv(f"{at}.shortcut.0", x, stride))
        return (h + x).clamp(min=0)

    h = norm("conv1.1", conv("conv1.0", x, 1)).clamp(min=0)
    stage = 2
    while f"conv{stage}_x.0.residual_function.0.weight" in weights:
        index = 0
        while f"conv{stage}_x.{index}.residual_function.0.weight" in weights:
            h = block(f"conv{stage}_x.{index}", h, 2 if stage > 2 and index == 0 else 1)
            index += 1
        stage += 1
    return h.mean(dim=(2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]


def group_normalised(x, num_groups):
    """[B, C, H, W] with mean 0 and variance 1 in each group of channels."""
    groups = x.reshape(len(x), num_groups, -1)
    mean, var = groups.mean(dim=2, keepdim=True), groups.var(dim=2, correction=0, keepdim=True)
    return ((groups - mean) / torch.sqrt(var + 1e-5)).reshape(x.shape)


def slow_unet(weights, x, t, *, groups=32):
    """Noise [B, C, H, W] in noisy images [B, C, H, W] at time indices [B]."""

    def conv(at, x, **options):
        weight = weights[f"{at}.weight"]
        return F.conv2d(x, weight, weights[f"{at}.bias"], padding=weight.shape[-1] // 2, **options)

    def linear(at, x):
        return x @ weights[f"{at}.weight"].T + weights[f"{at}.bias"]

    def silu(x):
        return x / (1 + torch.exp(-x))

    def norm(at, x):
        normal = group_normalised(x, groups)
        return normal * weights[f"{at}.weight"][:, None, None] + weights[f"{at}.bias"][:, None, None]

    def attend(at, x):
        q, k, v = (conv(f"{at}.proj_{part}", norm(f"{at}.group_norm", x)).flatten(2) for part in "qkv")  # [B, C, HW]
        scores = torch.einsum("bci,bcj->bij", q, k) / math.sqrt(x.shape[1])
        share = torch.exp(scores) / torch.exp(scores).sum(dim=2, keepdim=True)
        return x + conv(f"{at}.proj", torch.einsum("bij,bcj->bci", share, v).reshape(x.shape))

    def residual(at, x):
        h = conv(f"{at}.block1.2", silu(norm(f"{at}.block1.0", x)))
        h = h + linear(f"{at}.temb_proj.1", silu(temb))[:, :, None, None]
        h = conv(f"{at}.block2.3", silu(norm(f"{at}.block2.0", h)))
        h = h + (conv(f"{at}.shortcut", x) if f"{at}.shortcut.weight" in weights else x)
        return attend(f"{at}.attn", h) if f"{at}.attn.proj.weight" in weights else h

    def places(part):
        numbers = {int(match[1]) for key in weights if (match := re.match(rf"{part}\.(\d+)\.", key))}
        return [f"{part}.{i}" for i in range(max(numbers) + 1)]

    time = "time_embedding.timembedding"
    temb = linear(f"{time}.3", silu(linear(f"{time}.1", weights[f"{time}.0.weight"][t])))
    h = conv("head", x)
    skips = [h]
    for at in places("downblocks"):
        h = conv(f"{at}.main", h, stride=2) if f"{at}.main.weight" in weights else residual(at, h)
        skips.append(h)
    for at in places("middleblocks"):
        h = residual(at, h)
    for at in places("upblocks"):
        if f"{at}.main.weight" in weights:
            h = conv(f"{at}.main", h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
        else:
            h = residual(at, torch.cat([h, skips.pop()], dim=1))
    assert not skips
    return conv("tail.2", silu(norm("tail.0", h)))


def slow_guided_unet(weights, x, time, *, num_channels, heads, new_order=False, scales=True, down=(), up=()):
    """Output [B, C', H, W] for noisy images [B, 3, H, W] at a time, from OpenAI's names of the weights.

    heads:     channels -> how many heads share them
    down, up:  names of the residual blocks that halve, and double
    """

    def conv(at, x, **options):
        weight = weights[f"{at}.weight"]
        return F.conv2d(x, weight, weights[f"{at}.bias"], padding=weight.shape[-1] // 2, **options)

    def linear(at, x):
        return x @ weights[f"{at}.weight"].T + weights[f"{at}.bias"]

    def silu(x):
        return x / (1 + torch.exp(-x))

    def norm(at, x):
        normal = group_normalised(x, 32)
        return normal * weights[f"{at}.weight"][:, None, None] + weights[f"{at}.bias"][:, None, None]

    def attend(at, x):
        channels, count = x.shape[1], heads(x.shape[1])
        size, h = channels // count, norm(f"{at}.norm", x).flatten(2)  # [B, C, HW]
        rows = weights[f"{at}.qkv.weight"][:, :, 0] @ h + weights[f"{at}.qkv.bias"][:, None]  # [B, 3C, HW]
        found = torch.zeros_like(h)
        for head in range(count):
            starts = [part * channels + head * size if new_order else (3 * head + part) * size for part in range(3)]
            q, k, v = (rows[:, start : start + size] for start in starts)
            scores = torch.exp(torch.einsum("bci,bcj->bij", q, k) / math.sqrt(size))
            found[:, head * size : (head + 1) * size] = torch.einsum(
                "bij,bcj->bci", scores / scores.sum(dim=2, keepdim=True), v
            )
        added = weights[f"{at}.proj_out.weight"][:, :, 0] @ found + weights[f"{at}.proj_out.bias"][:, None]
        return x + added.reshape(x.shape)

    def halved(x):
        return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4

    def doubled(x):
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    def residual(at, x, resample):
        h, x = resample(silu(norm(f"{at}.in_layers.0", x))), resample(x)
        h = conv(f"{at}.in_layers.2", h)
        told = linear(f"{at}.emb_layers.1", silu(emb))[:, None, None]
        if scales:
            scale, shift = told[: h.shape[1]], told[h.shape[1] :]
            h = norm(f"{at}.out_layers.0", h) * (scale + 1) + shift
        else:
            h = norm(f"{at}.out_layers.0", h + told)
        h = conv(f"{at}.out_layers.3", silu(h))
        return h + (conv(f"{at}.skip_connection", x) if f"{at}.skip_connection.weight" in weights else x)

    def stage(at, h):
        layer = 0
        while any(key.startswith(f"{at}.{layer}.") for key in weights):
            name = f"{at}.{layer}"
            if f"{name}.qkv.weight" in weights:
                h = attend(name, h)
            elif f"{name}.op.weight" in weights:
                h = conv(f"{name}.op", h, stride=2)
            elif f"{name}.conv.weight" in weights:
                h = conv(f"{name}.conv", doubled(h))
            elif f"{name}.weight" in weights:
                h = conv(name, h)
            else:
                h = residual(name, h, halved if name in down else doubled if name in up else lambda x: x)
            layer += 1
        return h

    def numbers(part):
        return sorted({int(match[1]) for key in weights if (match := re.match(rf"{part}\.(\d+)\.", key))})

    half = num_channels // 2
    angles = torch.tensor([time * math.exp(-math.log(10000) * i / half) for i in range(half)], dtype=torch.float64)
    emb = linear("time_embed.2", silu(linear("time_embed.0", torch.cat([angles.cos(), angles.sin()]))))
    h, skips = x, []
    for i in numbers("input_blocks"):
        h = stage(f"input_blocks.{i}", h)
        skips.append(h)
    h = stage("middle_block", h)
    for i in numbers("output_blocks"):
        h = stage(f"output_blocks.{i}", torch.cat([h, skips.pop()], dim=1))
    assert not skips
    return conv("out.2", silu(norm("out.0", h)))
