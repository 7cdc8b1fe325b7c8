"""Files in the published formats, written from the rules by which their names and shapes go."""

import math
import pickle
from pathlib import Path

import numpy as np
import torch

from tests.common.formula import wave

UNET_FLAGS = {"ch": 32, "ch_mult": [1, 2, 2, 2], "attn": [1], "num_res_blocks": 2}


def resnet_shapes(*, width, blocks, channels, num_classes, norm="batch"):
    """Name -> shape of a ResNet's weights, stage k of 2, 3, … having width * 2^(k - 2) channels."""
    shapes = {}

    def conv(at, size_in, size_out, kernel):
        shapes[f"{at}.weight"] = (size_out, size_in, kernel, kernel)

    def normal(at, size):
        names = ("weight", "bias") if norm == "group" else ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{at}.{name}": (size,) for name in names})
        if norm == "batch":
            shapes[f"{at}.num_batches_tracked"] = ()

    conv("conv1.0", channels, width, 3)
    normal("conv1.1", width)
    before = width
    for stage, count in enumerate(blocks):
        size = width * 2**stage
        for i in range(count):
            at = f"conv{stage + 2}_x.{i}"
            conv(f"{at}.residual_function.0", before, size, 3)
            normal(f"{at}.residual_function.1", size)
            conv(f"{at}.residual_function.3", size, size, 3)
            normal(f"{at}.residual_function.4", size)
            if i == 0 and stage > 0:
                conv(f"{at}.shortcut.0", before, size, 1)
                normal(f"{at}.shortcut.1", size)
            before = size
    shapes |= {"fc.weight": (num_classes, before), "fc.bias": (num_classes,)}
    return shapes


def unet_shapes(*, ch, ch_mult, attn, num_res_blocks, channels, T=1000):
    """Name -> shape of a UNet's weights."""
    shapes = {}

    def layer(at, *shape):
        shapes[f"{at}.weight"], shapes[f"{at}.bias"] = shape, shape[:1]

    def residual(at, size_in, size_out, attention):
        layer(f"{at}.block1.0", size_in)
        layer(f"{at}.block1.2", size_out, size_in, 3, 3)
        layer(f"{at}.temb_proj.1", size_out, 4 * ch)
        layer(f"{at}.block2.0", size_out)
        layer(f"{at}.block2.3", size_out, size_out, 3, 3)
        if size_in != size_out:
            layer(f"{at}.shortcut", size_out, size_in, 1, 1)
        if attention:
            layer(f"{at}.attn.group_norm", size_out)
            for name in ("proj_q", "proj_k", "proj_v", "proj"):
                layer(f"{at}.attn.{name}", size_out, size_out, 1, 1)

    shapes["time_embedding.timembedding.0.weight"] = (T, ch)
    layer("time_embedding.timembedding.1", 4 * ch, ch)
    layer("time_embedding.timembedding.3", 4 * ch, 4 * ch)
    layer("head", ch, channels, 3, 3)
    levels = len(ch_mult)
    skips, place = [ch], 0
    for level, mult in enumerate(ch_mult):
        for _ in range(num_res_blocks):
            residual(f"downblocks.{place}", skips[-1], ch * mult, level in attn)
            skips, place = [*skips, ch * mult], place + 1
        if level < levels - 1:
            layer(f"downblocks.{place}.main", ch * mult, ch * mult, 3, 3)
            skips, place = [*skips, ch * mult], place + 1
    now, place = skips[-1], 0
    residual("middleblocks.0", now, now, True)
    residual("middleblocks.1", now, now, False)
    for level in range(levels - 1, -1, -1):
        for _ in range(num_res_blocks + 1):
            residual(f"upblocks.{place}", now + skips.pop(), ch * ch_mult[level], level in attn)
            now, place = ch * ch_mult[level], place + 1
        if level > 0:
            layer(f"upblocks.{place}.main", now, now, 3, 3)
            place += 1
    layer("tail.0", now)
    layer("tail.2", channels, now, 3, 3)
    return shapes


def filled(shapes):
    """A state dict of these shapes, float32; the table of time embeddings is the sinusoidal one."""
    weights = {}
    for place, (name, shape) in enumerate(shapes.items()):
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(100)
        elif name.endswith("timembedding.0.weight"):
            weights[name] = time_table(*shape)
        else:
            weights[name] = wave(name, shape, place).float()
    return weights


def time_table(num_steps, ch):
    rows = [
        [f(s * 10000 ** (-2 * i / ch)) for i in range(ch // 2) for f in (math.sin, math.cos)] for s in range(num_steps)
    ]
    return torch.tensor(rows, dtype=torch.float64).float()


def prefixed(weights):
    """As a data-parallel trainer names them."""
    return {f"module.{name}": value for name, value in weights.items()}


def write_classifier(path: Path, weights) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter], amsgrad=True)
    parameter.sum().backward()
    optimizer.step()
    torch.save(
        {"epoch": 57, "state_dict": weights, "best_acc": np.float64(83.2), "optimizer": optimizer.state_dict()}, path
    )


def write_ddpm(folder: Path, weights, *, image_size, flags=UNET_FLAGS, T=1000) -> None:
    """half.pt, the model before averaging being another one, and half.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    before = {name: value + 1 for name, value in weights.items()}
    content = {"net_model": before, "ema_model": weights, "optim": {}, "step": 800_000, "x_T": torch.zeros(2)}
    torch.save(content, folder / "half.pt")
    lines = ["--train", "--noeval", f"--T={T}", "--beta_1=0.0001", "--beta_T=0.02", "--mean_type=epsilon"]
    lines += ["--dropout=0.1", "--var_type=fixedlarge", f"--img_size={image_size}", "--logdir=./logs/some run"]
    for name, value in flags.items():
        lines += [f"--{name}={one}" for one in (value if isinstance(value, list) else [value])]
    (folder / "half.txt").write_text("\n".join(lines) + "\n")


def write_permutation(path: Path, order) -> None:
    path.write_bytes(pickle.dumps(np.asarray(order, dtype=np.int64), protocol=4))
