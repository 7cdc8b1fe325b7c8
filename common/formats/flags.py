"""The flags file beside a published diffusion checkpoint: one `--name=value` a line, shape and schedule of the UNet."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from common.diffusion.fitting import Side
from common.diffusion.schedule import ScheduleConfig
from common.diffusion.training import DDPMConfig
from common.models.unet import PUBLISHED_GROUPS, UNetConfig
from common.runtime import storage
from common.runtime.config import Strict, parse
from common.runtime.errors import UserError
from common.runtime.images import Size, sides, size_of
from common.runtime.storage import FileRead

_LISTS = ("ch_mult", "attn")  # flags that stand once for each value


class _TaskConfig(Strict):
    """What the network was trained for. --var_type does not matter: a DDIM jump adds no noise."""

    img_size: Side
    img_width: Side | None = None  # where it is not img_size, which then is the height
    mean_type: str


class _Flags(Strict):
    unet: UNetConfig
    schedule: ScheduleConfig
    task: _TaskConfig


class Described(NamedTuple):
    """A diffusion model as its flags file describes it, for images of size ``image_size``; and the file as read."""

    unet: UNetConfig
    schedule: ScheduleConfig
    image_size: Size
    file: FileRead


def write(config: DDPMConfig, *, image_size: Size) -> str:
    """The flags file of a configuration, as text."""
    unet, schedule, (height, width) = config.unet, config.schedule, sides(image_size)
    values: list[tuple[str, Any]] = [("ch", unet.ch)]
    values += [("ch_mult", mult) for mult in unet.ch_mult]
    values += [("attn", level) for level in unet.attn]
    values += [("num_res_blocks", unet.num_res_blocks), ("dropout", unet.dropout), ("T", schedule.T)]
    values += [("beta_1", schedule.beta_1), ("beta_T", schedule.beta_T), ("img_size", height)]
    values += [("mean_type", "epsilon"), ("var_type", "fixedlarge")]
    # two flags that the published code does not know
    values += [("img_width", width)] if width != height else []
    values += [("groups", unet.groups)] if unet.groups != PUBLISHED_GROUPS else []
    return "".join(f"--{name}={value}\n" for name, value in values)


def read(path: Path) -> Described:
    """What a flags file says; flags it does not know, and booleans, are ignored.

    Raises UserError naming the file and what is missing, contradictory or impossible.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path} not found: it belongs beside the diffusion checkpoint and describes its UNet"
        ) from None
    flags = parse(_sections(_values(data, path), path), _Flags, source=str(path))
    task = flags.task
    if task.mean_type != "epsilon":
        raise UserError(f"{path}: --mean_type={task.mean_type}: only noise-predicting (epsilon) networks can be used")
    file = FileRead(path, storage.bytes_sha256(data))
    size = size_of(task.img_size, task.img_width or task.img_size)
    return Described(flags.unet, flags.schedule, size, file)


def _values(data: bytes, path: Path) -> dict[str, list[str]]:
    """All values of each flag, in order."""
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file ({error})") from error
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        name, equals, value = line.strip().removeprefix("--").partition("=")
        if equals:
            found[name].append(value)
    return found


def _sections(found: dict[str, list[str]], path: Path) -> dict[str, dict[str, Any]]:
    """The known flags, sorted into the sections of ``_Flags``."""
    content: dict[str, dict[str, Any]] = {"unet": {"attn": []}}  # no such flag: no level has attention
    for section, field in _Flags.model_fields.items():
        chosen = content.setdefault(section, {})
        for name in field.annotation.model_fields:  # type: ignore[union-attr]
            values = [_number(value) for value in found.get(name, [])]
            if len(set(values)) > 1 and name not in _LISTS:
                raise UserError(f"{path}: --{name} stands with different values: {', '.join(found[name])}")
            if values:
                chosen[name] = values if name in _LISTS else values[0]
    return content


def _number(text: str) -> int | float | str:
    if not re.fullmatch(r"[-+0-9.eE]+", text):  # int() takes 1_000 and digits of all scripts
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
