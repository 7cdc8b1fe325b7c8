"""What a classifier answered, as users save it: arrays in an .npz file, or a CSV file with named columns.

.npz:  logits or probabilities float [n, K] (or answers, where the command says which they are), labels [n], member [n];
       and where there are any, fitting [n], and of S shadow models in_shadow [S, n] and shadow_logits,
       shadow_probabilities or shadow_answers [S, n, K]
.csv:  a row a sample, with the columns label, member, logit_0 … logit_K-1 (or probability_…, answer_…), and fitting
       where there is one; no shadow models
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.runtime import storage
from common.runtime.errors import UserError
from common.runtime.modes import Answers

KINDS: dict[str, Answers | None] = {"logits": "logits", "probabilities": "probabilities", "answers": None}
COLUMNS: dict[str, Answers | None] = {"logit": "logits", "probability": "probabilities", "answer": None}
REQUIRED, OPTIONAL = ("labels", "member"), ("fitting", "in_shadow")
SHADOW = "shadow_"


@dataclass(frozen=True, eq=False)
class SavedAnswers:
    """Arrays as they stand in a file, whose shapes and values are still to be checked.

    outputs:  what the file says that answers are; None where it does not
    """

    answers: np.ndarray
    outputs: Answers | None
    labels: np.ndarray
    member: np.ndarray
    fitting: np.ndarray | None
    shadow_answers: np.ndarray | None
    in_shadow: np.ndarray | None
    sha256: str


def read(path: Path) -> SavedAnswers:
    """Raises UserError naming the file and what is wrong with it."""
    readers = {".npz": _read_npz, ".csv": _read_csv}
    if path.suffix not in readers:
        raise UserError(f"{path}: expected a file ending in {' or '.join(readers)}")
    if not path.is_file():
        raise UserError(f"{path} not found")
    data = path.read_bytes()
    try:
        arrays, kinds = readers[path.suffix](data)
        return _saved(arrays, kinds, sha256=storage.bytes_sha256(data))
    except Exception as error:  # whatever a hostile file provokes, the answer is the same
        raise UserError(f"{path}: {error}; see docs/audit.md for what it is to hold") from error


def _saved(arrays: dict[str, np.ndarray], kinds: dict[str, Answers | None], *, sha256: str) -> SavedAnswers:
    name = _one_of(kinds, arrays)
    shadows = {SHADOW + kind: outputs for kind, outputs in kinds.items()}
    known = {*kinds, *shadows, *REQUIRED, *OPTIONAL}
    for each in arrays:
        if each not in known:
            raise ValueError(f"{each} is unknown: expected {', '.join(sorted(known))}")
    for each in REQUIRED:
        if each not in arrays:
            raise ValueError(f"{each} is missing")
    shadow = _one_of(shadows, arrays) if any(each in arrays for each in shadows) else None
    if shadow is not None and shadow != SHADOW + name:
        raise ValueError(f"{name} and {shadow}: both are to be of one kind")
    return SavedAnswers(
        arrays[name],
        kinds[name],
        arrays["labels"],
        arrays["member"],
        arrays.get("fitting"),
        None if shadow is None else arrays[shadow],
        arrays.get("in_shadow"),
        sha256,
    )


def _one_of(names: dict[str, Answers | None], arrays: dict[str, np.ndarray]) -> str:
    found = [name for name in names if name in arrays]
    if len(found) != 1:
        raise ValueError(f"expected one of {', '.join(names)}, found {', '.join(found) or 'none'}")
    return found[0]


def _read_npz(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Answers | None]]:
    return storage.read_npz(io.BytesIO(data)), KINDS


def _read_csv(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Answers | None]]:
    header, *rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True) if row]
    names = ["labels" if name.strip() == "label" else name.strip() for name in header]
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"two columns have the same name, {twice}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ValueError(f"line {number} has {len(row)} fields, and the first line {len(header)}")
    by_kind: dict[str, dict[int, np.ndarray]] = {}
    arrays = {}
    for place, name in enumerate(names):
        column = _numbers([row[place] for row in rows], name)
        numbered = re.fullmatch(rf"({'|'.join(COLUMNS)})_(0|[1-9][0-9]{{0,5}})", name)
        if numbered:
            by_kind.setdefault(numbered[1], {})[int(numbered[2])] = column
        else:
            arrays[name] = column
    for kind, columns in by_kind.items():
        if sorted(columns) != list(range(len(columns))):
            raise ValueError(f"columns {kind}_…: expected the numbers 0 … {len(columns) - 1}, each once")
        if _plural(kind) in arrays:
            raise ValueError(f"columns {_plural(kind)} and {kind}_…: both are of the same")
        arrays[_plural(kind)] = np.stack([columns[number] for number in range(len(columns))], axis=1)
    return arrays, {_plural(kind): outputs for kind, outputs in COLUMNS.items()}


def _plural(kind: str) -> str:
    return "probabilities" if kind == "probability" else f"{kind}s"


TRUTHS = {"true": 1.0, "false": 0.0}
LONGEST = 400  # characters of a number


def _numbers(cells: list[str], name: str) -> np.ndarray:
    """A column as float64 [n]; true and false are 1 and 0."""
    longest = max(map(len, cells), default=0)
    if longest > LONGEST:
        raise ValueError(f"column {name}: expected numbers, found a cell of {longest} characters")
    try:
        return np.array([TRUTHS.get(cell.strip().lower(), cell) for cell in cells], dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"column {name}: {error}") from None
