"""A denoiser as one checkpoint: weights, schedule, and the network that they are for; read without any dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from common.diffusion.denoiser import Denoiser
from common.models.guided_unet import GuidedUNet, GuidedUNetConfig
from common.models.unet import UNet, UNetConfig
from common.runtime import checkpoints, config
from common.runtime.config import Positive, Strict
from common.runtime.device import accelerate
from common.runtime.errors import UserError
from common.runtime.modes import Precision

Sides = Annotated[list[Annotated[int, Field(gt=0, le=4096)]], Field(min_length=3, max_length=3)]
Steps = Annotated[list[Positive], Field(min_length=2, max_length=2)]


class _UNet(Strict):
    kind: Literal["unet"]
    config: UNetConfig
    channels: Annotated[int, Field(gt=0, le=16)]
    num_steps: Positive

    def make(self) -> nn.Module:
        return UNet(self.config, channels=self.channels, num_steps=self.num_steps)


class _GuidedUNet(Strict):
    kind: Literal["guided_unet"]
    config: GuidedUNetConfig
    times: list[float]

    def make(self) -> nn.Module:
        return GuidedUNet(self.config, self.times)


class Described(Strict):
    """All of a denoiser but tensors. channels_last: how its weights lie in memory, which its bits depend on."""

    network: Annotated[_UNet | _GuidedUNet, Field(discriminator="kind")]
    channels_last: bool
    precision: Precision
    image_shape: Sides | None
    own_shape: Sides | None
    only_steps: Steps | None


def with_weights(make: Callable[[], nn.Module], weights: dict[str, Any], *, path: Path, described: Path) -> nn.Module:
    """The network that ``make`` makes, with the weights of ``path``.

    Raises UserError naming both files, before memory is asked for, where it is not the one that ``described`` says.
    """
    try:
        with torch.device("meta"):
            checkpoints.load_weights(make(), weights, path=path)
        network = make()
        checkpoints.load_weights(network, weights, path=path)
    except UserError as error:
        raise UserError(f"{error}; the UNet is the one that {described} describes") from None
    return network


def identity(denoiser: Denoiser) -> str:
    """A checksum of what a denoiser answers by, as far as that is seen: of a plain function its schedule alone."""
    return checkpoints.checksum([_state(denoiser.predict_noise), denoiser.alpha_bar, denoiser.precision])


def _state(network: Any) -> dict[str, Any]:
    return checkpoints.plain(network.state_dict()) if isinstance(network, nn.Module) else {}


def write(path: Path, denoiser: Denoiser) -> None:
    """Raises UserError where the noise predictor is no network of this project."""
    described = Described(
        network=_described(denoiser.predict_noise),
        channels_last=any(
            weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
            for weight in denoiser.parameters()
            if weight.ndim == 4
        ),
        precision=denoiser.precision,
        **{
            name: None if value is None else list(value)
            for name, value in (
                ("image_shape", denoiser.image_shape),
                ("own_shape", denoiser.own_shape),
                ("only_steps", denoiser.only_steps),
            )
        },
    )
    alpha_bar = torch.tensor(denoiser.alpha_bar, dtype=torch.float64)
    content = {"weights": _state(denoiser.predict_noise), "alpha_bar": alpha_bar, "described": described.model_dump()}
    checkpoints.save(path, content)


def _described(network: Any) -> _UNet | _GuidedUNet:
    if isinstance(network, UNet):
        steps = network.get_submodule("time_embedding.timembedding.0").get_parameter("weight").shape[0]
        return _UNet(kind="unet", config=network.config, channels=network.head.in_channels, num_steps=steps)
    if isinstance(network, GuidedUNet):
        values = {name: getattr(network.config, name) for name in GuidedUNetConfig.model_fields}
        return _GuidedUNet(kind="guided_unet", config=GuidedUNetConfig(**values), times=network.times)
    raise UserError(
        f"only this project's own UNets are copied, no {type(network).__name__}: save with copy=False, and "
        "give the diffusion model when loading, as denoiser=…"
    )


def read(path: Path, *, device: torch.device) -> Denoiser:
    """What ``write`` wrote, ready to answer, on a device. Raises UserError where it is damaged or anything else."""
    expect = {"weights": dict, "alpha_bar": torch.Tensor, "described": dict}
    read = checkpoints.read(path, expect=expect)
    if not read.checked:
        raise UserError(f"{path}: it carries no checksum, which every saved diffusion model has")
    described = config.parse(read.content["described"], Described, source=f"{path}: described")
    network = with_weights(described.network.make, read.content["weights"], path=path, described=path)
    network = network.to(device)
    if described.channels_last:
        accelerate(network)
    shapes = {name: value and tuple(value) for name, value in described if name in ("image_shape", "own_shape")}
    try:
        denoiser = Denoiser(
            network,
            read.content["alpha_bar"],
            precision=described.precision,
            only_steps=described.only_steps,
            **shapes,
        )
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    return denoiser.eval().requires_grad_(False)
