"""What diffusion models of other data cost, without any weights: python -m tests.benchmarks.other_data

Counted on torch's device "meta", which computes shapes alone: parameters, products, and the most that activations take
at one time. The times are those of the rates below, which are assumed.
"""

import weakref
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from common.models.guided_unet import GuidedUNet, GuidedUNetConfig
from common.models.unet import UNet, UNetConfig
from common.reports import tables
from common.runtime.device import BYTES_PER_PIXEL, PASS_PIXELS

GPU, CPU = 60e12, 200e9  # products and sums a second: a data-centre GPU in TF32, two cores with AVX-512 in fp32
RECONSTRUCTIONS = 30_000  # of 1,000 images, N = 30
GPU_MEMORY = 24, 80  # GB

IMAGENET_256 = GuidedUNetConfig(
    image_size=256, num_channels=256, num_res_blocks=2, attention_resolutions=[32, 16, 8], num_head_channels=64,
    resblock_updown=True, learn_sigma=True,
)  # fmt: skip
IMAGENET_64 = GuidedUNetConfig(image_size=64, num_channels=128, num_res_blocks=3, learn_sigma=True)
CIFAR = UNetConfig(ch=128, ch_mult=[1, 2, 2, 2], attn=[1], num_res_blocks=2, dropout=0.1)


class Held(TorchDispatchMode):
    """Bytes of what operations give and somebody still holds: now, and at the most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        for tensor in given if isinstance(given, (tuple, list)) else [given]:
            if isinstance(tensor, torch.Tensor):
                self._hold(tensor.untyped_storage())
        return given

    def _hold(self, storage: torch.UntypedStorage) -> None:
        name, size = storage._cdata, storage.nbytes()
        if name not in self.seen:
            self.seen.add(name)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._free, name, size)

    def _free(self, name: int, size: int) -> None:
        self.seen.discard(name)
        self.now -= size


def main() -> None:
    header = ["model", "parameters, M", "weights, GB", "GFLOP a pass of one image", "activations of one image, GB"]
    header += [f"images a pass, GPU of {size} GB" for size in GPU_MEMORY]
    header += [f"{RECONSTRUCTIONS:,} reconstructions on a GPU, minutes", "on two cores, hours"]
    rows = [
        _row("CIFAR-10, 32x32, as published", lambda: UNet(CIFAR, channels=3, num_steps=1000), 32),
        _row("ImageNet 64x64, improved-diffusion", lambda: GuidedUNet(IMAGENET_64, range(4000)), 64),
        _row("ImageNet 256x256, guided-diffusion", lambda: GuidedUNet(IMAGENET_256, range(1000)), 256),
    ]
    print(tables.STYLES["markdown"](header, rows))


@torch.no_grad()
def _row(name: str, make: Any, size: int) -> list[str]:
    with torch.device("meta"):
        network: nn.Module = make().eval()
        x, index = torch.empty(1, 3, size, size), torch.zeros(1, dtype=torch.int64)
    count = sum(weight.numel() for weight in network.parameters())
    with FlopCounterMode(display=False) as counter:
        network(x, index)
    work = counter.get_total_flops()
    with Held() as held:
        network(x, index)
    times = [RECONSTRUCTIONS * work / GPU / 60, RECONSTRUCTIONS * work / CPU / 3600]
    passes = [str(_images(memory * 1e9 - 4 * count, size)) for memory in GPU_MEMORY]
    numbers = [f"{count / 1e6:.1f}", f"{4 * count / 1e9:.2f}", f"{work / 1e9:,.1f}", f"{held.most / 1e9:.3f}"]
    return [name, *numbers, *passes, *(f"{time:,.1f}" for time in times)]


def _images(free: float, size: int) -> int:
    """As ``device.pass_size`` chooses where so many bytes are free."""
    least = max(1, PASS_PIXELS // size**2)
    return max(least, min(1024, int(free / 2 / (size**2 * BYTES_PER_PIXEL))) // least * least)


if __name__ == "__main__":
    main()
