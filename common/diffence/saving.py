"""A fence as one folder, to be served where no dataset is: its settings and rule, its secret, its diffusion model.

The classifier is not in it: it is the user's, and is given again when the fence is loaded.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field

from common import __version__
from common.diffence.averaging import Averaging
from common.diffence.labels import LabelAlone
from common.diffence.matching import Matching
from common.diffence.rule import EVERYWHERE, Interval, Rule
from common.diffusion import saving as diffusion
from common.diffusion.denoiser import Denoiser
from common.runtime import config, keys, storage
from common.runtime.config import Batch, Positive, Strict
from common.runtime.device import resolve
from common.runtime.errors import UserError
from common.runtime.modes import Answers, Noise, Noising, Work

if TYPE_CHECKING:
    from common.diffence.fence import Diffence

SETTINGS, KEY, DIFFUSION = "fence.json", "fence.key", "diffusion.pt"
FORMAT = 1
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Interval(Strict):
    kind: Literal["interval"] = "interval"
    lo: Finite
    hi: Finite


class _Everywhere(Strict):
    kind: Literal["everywhere"] = "everywhere"


class _Matching(Strict):
    kind: Literal["matching"] = "matching"
    phi: Annotated[list[Finite], Field(min_length=1)]
    tolerance: Finite
    exact: bool


class _Averaging(Strict):
    kind: Literal["averaging"] = "averaging"


class _LabelAlone(Strict):
    kind: Literal["label"] = "label"
    phi: Finite


_Rule = Annotated[_Interval | _Everywhere | _Matching | _Averaging | _LabelAlone, Field(discriminator="kind")]


class Saved(Strict):
    """fence.json

    seed:       the key, where that is an evaluation's; None where it is secret, in a file of its own
    diffusion:  which diffusion model it is (``identity``)
    copied:     it is in the folder
    """

    format: int
    versions: dict[str, str]
    rule: _Rule
    num_candidates: int
    step: Positive
    noising: Noising
    noise: Noise
    work: Work
    answers: Answers
    batch_size: Batch | None
    seed: int | None
    diffusion: str
    copied: bool


def write(fenced: "Diffence", folder: Path, *, copy: bool) -> None:
    """Save a fence; see ``Diffence.save``."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UserError(f"{folder} is there already and is not overwritten: move it away, or give another folder")
    names = ("num_candidates", "step", "noising", "noise", "work", "answers", "batch_size")
    saved = Saved(
        format=FORMAT,
        versions={"diffence": __version__, "torch": torch.__version__},
        rule=_plain(fenced.rule),
        seed=fenced.key if isinstance(fenced.key, int) else None,
        diffusion=diffusion.identity(fenced.denoiser),
        copied=copy,
        **{name: getattr(fenced, name) for name in names},
    )
    with storage.new_folder(folder) as stage:
        if copy:
            diffusion.write(stage / DIFFUSION, fenced.denoiser)
        if isinstance(fenced.key, bytes):
            keys.write(stage / KEY, fenced.key)
        storage.write_json(stage / SETTINGS, storage.with_checksum(saved.model_dump()))


def read(folder: Path, *, denoiser: Denoiser | None, device: str) -> dict[str, Any]:
    """What ``Diffence`` is made of beside the classifier; see ``Diffence.load``."""
    path = folder / SETTINGS
    saved = _settings(path)
    if saved.copied == (denoiser is not None):
        said = "holds its diffusion model" if saved.copied else "was saved without its diffusion model"
        raise UserError(f"{folder} {said}: {'leave out' if saved.copied else 'give'} denoiser=…")
    denoiser = denoiser or diffusion.read(folder / DIFFUSION, device=resolve(device))
    if diffusion.identity(denoiser) != saved.diffusion:
        which = folder / DIFFUSION if saved.copied else "denoiser=…"
        raise UserError(f"{path}: {which} is another diffusion model than the one that this fence was saved with")
    names = ("num_candidates", "step", "noising", "noise", "work", "answers", "batch_size")
    return {
        "denoiser": denoiser,
        "rule": _rule(saved.rule, path),
        "key": keys.read(folder / KEY) if saved.seed is None else saved.seed,
        **{name: getattr(saved, name) for name in names},
    }


def _settings(path: Path) -> Saved:
    try:
        content = storage.read_json(path)
    except (ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: no saved fence can be read ({reason})") from error
    if not isinstance(content, dict) or "format" not in content:
        raise UserError(f"{path}: holds no saved fence")
    if content["format"] != FORMAT:
        raise UserError(f"{path}: its format is {content['format']!r}, and version {__version__} reads {FORMAT}")
    said = content.pop(storage.CHECKSUM, None)
    if said != storage.json_sha256(content):
        raise UserError(f"{path} is damaged: its checksum does not fit what it holds")
    return config.parse(content, Saved, source=str(path))


def _plain(rule: Rule) -> Any:
    """Raises UserError where that is a rule of the user's own."""
    if isinstance(rule, Interval):
        return _Everywhere() if rule == EVERYWHERE else _Interval(lo=float(rule.lo), hi=float(rule.hi))
    if type(rule) is Matching:
        return _Matching(phi=rule.phi.double().tolist(), tolerance=float(rule.tolerance), exact=rule.exact)
    if type(rule) is Averaging:
        return _Averaging()
    if type(rule) is LabelAlone:
        return _LabelAlone(phi=rule.phi)
    raise UserError(
        f"a {type(rule).__name__} cannot be saved: only the rules of common.diffence are known when loading"
    )


def _rule(saved: Any, path: Path) -> Rule:
    try:
        match saved:
            case _Interval():
                return Interval(saved.lo, saved.hi)
            case _Matching():
                phi = torch.tensor(saved.phi, dtype=torch.float64)
                return Matching(phi, saved.tolerance, saved.exact)
            case _LabelAlone():
                return LabelAlone(saved.phi)
            case _Averaging():
                return Averaging()
        return EVERYWHERE
    except ValueError as error:
        raise UserError(f"{path}: rule: {error}") from error
