"""Programs of torch.export (.pt2), read without running anything that a file brings along but the network itself.

torch's own reader trusts the file: it unpickles what the archive says is a pickle, loads compiled libraries, resolves
names of functions anywhere below ``torch``, and runs sizes, guards and names of values as Python. So it is given a copy
of the archive that holds only tensors stored as plain numbers and a graph whose every word was looked at: its functions
are tensor operations of ATen, sizes are sums and products, and names are names.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from common.runtime import storage
from common.runtime.errors import UserError

GRAPH, SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
_CONFIG = re.compile(r"data/(weights|constants)/model_\w+_config\.json")
_PLAIN = re.compile(
    r"archive_format|archive_version|byteorder|\.data/version|data/(weights/weight|constants/tensor)_\d+"
)
_UNUSED = re.compile(r"extra/.*|\.data/serialization_id|" + re.escape(SAMPLES))
_TENSOR = re.compile(r"(weight|tensor)_\d+")

_WORD, _NAME = re.compile(r"[\w.+-]*", re.ASCII), re.compile(r"\w*", re.ASCII)
_TEXT = re.compile(r"[\w .,>-]*", re.ASCII)  # an argument, such as the equation of an einsum
_SYMBOL = re.compile(r"Symbol\('(\w+)'(?:, \w+=(?:True|False))*\)", re.ASCII)
_ARITHMETIC = "Add|Mul|Integer|Max|Min|Mod|PythonMod|ModularIndexing|FloorDiv|CleanDiv|CeilDiv"
_COMPARED = "Equality|Unequality|GreaterThan|LessThan|StrictGreaterThan|StrictLessThan|Not|And|Or"
_CALL = re.compile(rf"\b(?:{_ARITHMETIC}|{_COMPARED})\(|(?<![\w)])\(", re.ASCII)
_SIZE = re.compile(r"(?:[\w,)/+-]|\*(?!\*))*", re.ASCII)  # what is left of one without its calls and brackets
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")

_FILES = {"save", "from_file"}  # the operations of ATen that touch files
_FUNCTIONS = {
    *(f"_operator.{name}" for name in ("getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "neg")),
    *(f"_operator.{name}" for name in ("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_")),
    *(f"torch.sym_{name}" for name in ("int", "float", "max", "min", "not", "sum")),
    *(f"torch.ops.higher_order.wrap_with_{name}" for name in ("set_grad_enabled", "autocast")),
}


def load(path: Path) -> torch.nn.Module:
    """The program of a file that ``torch.export.save`` wrote, as a module.

    Raises UserError naming the file and what of it could run code when it is read; whatever torch raises where it is
    damaged.
    """
    try:
        copy = _copy(path)
    except (ValueError, OSError, zipfile.BadZipFile, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: {error}: a program of torch.export is read only where nothing in it could run but its network; "
            "give package.module:function that makes the classifier, or save it as TorchScript (torch.jit.trace)"
        ) from error
    return torch.export.load(copy).module(check_guards=False)


def _copy(path: Path) -> io.BytesIO:
    """The archive again, with nothing in it that was not looked at. Raises ValueError saying what it may not hold."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(buffer, "w") as copy:
        for entry in archive.infolist():
            name = entry.filename.partition("/")[2]
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename} is compressed")
            if name == GRAPH:
                graph = _graph(storage.parse_json(archive.read(entry)))
                copy.writestr(f"model/{name}", json.dumps(graph))
            elif _CONFIG.fullmatch(name):
                copy.writestr(f"model/{name}", json.dumps(_tensors(storage.parse_json(archive.read(entry)))))
            elif _PLAIN.fullmatch(name):
                copy.writestr(f"model/{name}", archive.read(entry))
            elif not _UNUSED.fullmatch(name):
                raise ValueError(f"it holds {entry.filename}")
        copy.writestr(f"model/{SAMPLES}", b"")
    buffer.seek(0)
    return buffer


def _tensors(config: Any) -> Any:
    """Which file holds which tensor: as plain numbers, never as a pickle."""
    for name, said in config["config"].items():
        if said["use_pickle"] is not False or not _TENSOR.fullmatch(said["path_name"]):
            raise ValueError(f"{name} is stored as a pickle, {said['path_name']}")
    return _looked_at(config, "")


def _graph(program: Any) -> Any:
    return {**_looked_at(program, ""), "guards_code": []}


def _looked_at(value: Any, key: str) -> Any:
    """The same JSON without what is only for debugging. Raises ValueError naming a word that could be run."""
    if isinstance(value, dict):
        for name in value:
            _require(_WORD, name, "name")
        return {name: {} if name == "metadata" else _looked_at(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [] if key == "guards_code" else [_looked_at(item, key) for item in value]
    if isinstance(value, str):
        _look(value, key)
    return value


def _look(text: str, key: str) -> None:
    if key in ("target", "as_operator"):
        _require_operation(text)
    elif key in ("in_spec", "out_spec"):
        _require_containers(storage.parse_json(text.encode())[1])
    elif key == "expr_str":
        _require(_SIZE, _CALL.sub("", _SYMBOL.sub(r"\1", text).replace(" ", "")), "size")
    elif key in ("name", "as_name"):
        _require(_NAME, text, "name")
    else:
        _require(_TEXT if key == "as_string" else _WORD, text, key)


def _require(pattern: re.Pattern[str], text: str, what: str) -> None:
    if not pattern.fullmatch(text):
        raise ValueError(f"{what} {text[:100]!r} could be run as Python")


def _require_operation(name: str) -> None:
    """Only what computes with tensors and sizes."""
    root, _, rest = name.partition("torch.ops.aten.")
    operation, _, overload = rest.partition(".")
    packet = getattr(torch.ops.aten, operation, None) if not root and operation not in _FILES else None
    known = isinstance(packet, torch._ops.OpOverloadPacket) and overload in packet.overloads()
    if not known and name not in _FUNCTIONS:
        raise ValueError(f"{name[:100]} is no operation on tensors")


def _require_containers(spec: Any) -> None:
    """How arguments and answers are nested: tuples, lists and dicts, whose keys are words."""
    if spec["type"] not in _CONTAINERS:
        raise ValueError(f"arguments or answers are in a {spec['type']}")
    context = spec["context"] and storage.parse_json(spec["context"].encode())
    for key in context or []:
        _require(_WORD, key, "name")
    for child in spec["children_spec"]:
        _require_containers(child)
