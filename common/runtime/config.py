"""Validated YAML: a model for each file, every mistake of a file in one error, and overrides by dotted path.

What a dataset folder's configs/NAME.yaml does not say is said by common/configs/NAME.yaml, key by key.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.runtime.errors import UserError

MOST = 10_000_000  # of anything that is counted: more is a mistake, and is not tried
Positive = Annotated[int, Field(gt=0, le=MOST)]
NonNegative = Annotated[int, Field(ge=0, le=2**63)]
Batch = Annotated[int, Field(gt=0, le=65_536)]  # samples that are computed together
Width = Annotated[int, Field(gt=0, le=16_384)]  # channels of a layer
Few = Annotated[int, Field(gt=0, le=256)]  # layers, teachers, batches of a round
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"


def later(default: Any) -> Any:
    """The default of a setting that came later: where it stands it is not written down, so older work is recognised."""
    return Field(default=default, exclude_if=lambda value: value == default)


class Strict(BaseModel):
    """Unknown keys, missing keys and values of another type are mistakes; nothing is converted in silence."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Record(Strict):
    """A part of a report, which a newer version may have added keys to."""

    model_config = ConfigDict(extra="ignore")


Config = TypeVar("Config", bound=Strict)


Overrides = Mapping[str, Mapping[str, Any]]
"""File of configs/ without its ending -> dotted path of a key -> value: {"ddpm": {"training.batch_size": 32}}"""


def load(path: Path, model: type[Config], changes: Mapping[str, Any] | None = None) -> Config:
    """Read and check a YAML file, some of its values replaced before the check: dotted path -> value.

    Raises UserError naming the file and all of its mistakes, those of the changes among them; beside a mistake that
    stands in the file below common/configs/ that one is named.
    """
    content, source = read(path), str(path)
    for key, value in (changes or {}).items():
        source += f" with {key}={value}"
        _replace(content, key, value, source=source)
    shared = _shared(path)
    if shared is None:
        return parse(content, model, source=source)
    own = _plain(path) if path.is_file() else None

    def place(key: str) -> str:
        said = _has(own, key) or any(f"{key}.".startswith(f"{changed}.") for changed in changes or {})
        return "" if said or not _has(_plain(shared), key) else f" (in {shared})"

    return parse(content, model, source=source, place=place)


def read(path: Path) -> Any:
    """The plain content of a YAML file, laid over that of common/configs/. Raises UserError naming the file."""
    shared = _shared(path)
    if shared is None:
        if not path.is_file():
            raise UserError(f"{path} not found: every dataset folder needs it")
        return _plain(path)
    own = _plain(path) if path.is_file() else None
    return _plain(shared) if own is None else _laid_over(_plain(shared), own)


def _shared(path: Path) -> Path | None:
    """The file that says what all dataset folders have in common; None where there is none."""
    for folder in path.absolute().parents:
        if folder.name == "configs":
            found = folder.parents[1] / "common" / "configs" / path.absolute().relative_to(folder)
            return found if found.is_file() and folder.parent.name != "common" else None
    return None


def _laid_over(shared: Any, own: Any) -> Any:
    if not (isinstance(shared, dict) and isinstance(own, dict)):
        return own
    return shared | {key: _laid_over(shared[key], value) if key in shared else value for key, value in own.items()}


def _has(content: Any, key: str) -> bool:
    """Whether plain content has a dotted path, or a number or text stands on the way there."""
    for section in key.split("."):
        if not isinstance(content, dict):
            return content is not None
        if section not in content:
            return False
        content = content[section]
    return True


def _plain(path: Path) -> Any:
    try:
        return _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OSError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def _replace(content: Any, key: str, value: Any, *, source: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        content = content.get(section) if isinstance(content, dict) else None
    if not isinstance(content, dict) or last not in content:
        raise UserError(f"{source}: no such key")
    content[last] = value


def changes(path: Path, name: str, values: Mapping[str, Any]) -> list[str]:
    """What overrides change in a YAML file, as `NAME.key: old -> new`; values that stand there already are left out."""
    changed = []
    for key, value in values.items():
        before = read(path)
        for section in key.split("."):
            before = before.get(section) if isinstance(before, dict) else None
        if before != value:
            changed.append(f"{name}.{key}: {before} -> {value}")
    return changed


def parse_overrides(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What ``--set FILE.KEY=VALUE`` says, values as in YAML.

    >>> parse_overrides(["ddpm.training.batch_size=32", "selena.epochs=5", "selena.soft_labels=logits"])
    {'ddpm': {'training.batch_size': 32}, 'selena': {'epochs': 5, 'soft_labels': 'logits'}}

    Raises UserError naming the text.
    """
    overrides: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        file, dot, key = path.partition(".")
        if not (equals and dot and file and key):
            raise UserError(f"--set {text}: expected FILE.KEY=VALUE, such as ddpm.training.batch_size=32")
        try:
            overrides.setdefault(file, {})[key] = _Loader(value).get_single_data()
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
            raise UserError(f"--set {text}: not a YAML value: {' '.join(str(error).split())}") from error
    return overrides


def parse(content: Any, model: type[Config], *, source: str, place: Callable[[str], str] = lambda key: "") -> Config:
    """Check plain content against a model; ``source`` names it in the error, ``place`` adds to a key's mistake."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_mistake(dict(item)) + place(".".join(map(str, item["loc"]))) for item in error.errors()]
        count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        shown = [*lines[:20], f"and {len(lines) - 20} more"] if len(lines) > 20 else lines
        raise UserError(f"{source}: {count}\n" + "\n".join(f"  {line}" for line in shown)) from None


def _mistake(error: dict[str, Any]) -> str:
    where = ".".join(map(str, error["loc"])) or "the file"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    if error["type"] == "missing":
        return f"{where}: missing"
    said = repr(error["input"])
    found = "" if isinstance(error["input"], dict) else f", found {said if len(said) <= 200 else said[:200] + '…'}"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}{found}"


class _Loader(yaml.SafeLoader):
    """PyYAML without its surprises: of two equal keys it keeps the last in silence, and it reads 010 as 8, 1:30 as 90.

    Here the first is a mistake, and numbers are YAML 1.2's: what else looks like one is refused. So are aliases, by
    which a few lines can stand for more than any memory holds, and tags, which say what kind a value is.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not read", event.start_mark)
        if event.tag is not None:
            raise yaml.composer.ComposerError(None, None, f"tags such as {event.tag} are not read", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (list, dict)) or key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def refuse_number(self, node: yaml.ScalarNode) -> None:
        said = f"{node.value} is no plain number: write it as 10, -3, 1.5 or 1e-3, or text in quotes"
        raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_INT, _FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_NUMBER_STARTS = list("-+.0123456789")
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?(0|[1-9][0-9]*)$"), _NUMBER_STARTS)
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"([-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    _NUMBER_STARTS,
)
# octal with one zero, binary, hexadecimal, sexagesimal, and digits with underscores between or zeros before them
_Loader.add_implicit_resolver(
    "!odd-number",
    re.compile(r"[-+]?(0[box][0-9a-fA-F_]+|[0-9][0-9_]*([:.][0-9_]+)*([eE][-+]?[0-9]+)?)$"),
    _NUMBER_STARTS,
)
_Loader.add_constructor("!odd-number", _Loader.refuse_number)
