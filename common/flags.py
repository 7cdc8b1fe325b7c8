"""The flags file beside a published diffusion checkpoint: one `--name=value` a line, shape and schedule of the UNet."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from common.config import DDPMConfig, ScheduleConfig, Strict, UNetConfig, parse
from common.errors import UserError


class _Flags(Strict):
    unet: UNetConfig
    schedule: ScheduleConfig


def write(config: DDPMConfig, *, image_size: int) -> str:
    """The flags file of a configuration, as text."""
    unet, schedule = config.unet, config.schedule
    values: list[tuple[str, Any]] = [("ch", unet.ch)]
    values += [("ch_mult", mult) for mult in unet.ch_mult]
    values += [("attn", level) for level in unet.attn]
    values += [("num_res_blocks", unet.num_res_blocks), ("dropout", unet.dropout), ("T", schedule.T)]
    values += [("beta_1", schedule.beta_1), ("beta_T", schedule.beta_T), ("img_size", image_size)]
    values += [("mean_type", "epsilon"), ("var_type", "fixedlarge")]
    return "".join(f"--{name}={value}\n" for name, value in values)


def read(path: Path) -> tuple[UNetConfig, ScheduleConfig]:
    """UNet shape and schedule of a flags file; flags it does not know are ignored.

    Raises UserError naming the file and what is missing, contradictory or impossible.
    """
    try:
        lines = path.read_text().split()
    except FileNotFoundError:
        raise UserError(
            f"{path} not found: it belongs beside the diffusion checkpoint and describes its UNet"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file ({error})") from error
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        name, equals, value = line.removeprefix("--").partition("=")
        if equals:
            found[name].append(value)
    others = [value for value in found["mean_type"] if value != "epsilon"]
    if others:
        raise UserError(f"{path}: --mean_type={others[0]}: only noise-predicting (epsilon) networks can be used")
    lists = {"ch_mult", "attn"}
    content: dict[str, dict[str, Any]] = {}
    for section, model in (("unet", UNetConfig), ("schedule", ScheduleConfig)):
        content[section] = {}
        for name in model.model_fields:
            values = [_number(value) for value in found[name]]
            if len(set(values)) > 1 and name not in lists:
                raise UserError(f"{path}: --{name} stands with different values: {', '.join(found[name])}")
            if values:
                content[section][name] = values if name in lists else values[0]
    content["unet"].setdefault("attn", [])  # no such flag: no level has attention
    flags = parse(content, _Flags, source=str(path))
    return flags.unet, flags.schedule


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
