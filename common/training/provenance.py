"""What checkpoints say they were made from."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from common.runtime.config import Strict
from common.runtime.modes import OriginalSettings, Precision


def _of_weights(ddpm: Any) -> Any:
    """A diffusion model's configuration without what its weights do not depend on: that of its pictures."""
    if not isinstance(ddpm, dict) or not isinstance(ddpm.get("training"), dict):
        return ddpm
    return {**ddpm, "training": {name: value for name, value in ddpm["training"].items() if name != "sample_steps"}}


class Provenance(Strict):
    """What a checkpoint was made from: equal provenance, equal bytes (on one kind of machine).

    ddpm:            the diffusion model's configuration, for a diffusion model
    defense, classifier, settings:  name, network and configuration, for a classifier
    undefended, tuning_members:     what a defence that protects another classifier depends on: that one's sha256, and
                                    which members its guesser learns from
    teacher:         the number of one of SELENA's teachers
    original:        the defence with the settings of whose own paper it was trained
    brought:         the sha256 of the file that a classifier came in which was trained elsewhere
    normalisation:   mean and std by channel, a classifier's first layer; None in checkpoints of versions before, which
                     did not say it: it is taken to be as it is now
    """

    dataset: str
    partition: str  # the partition's key
    seed: int
    precision: Precision
    ddpm: Annotated[dict[str, Any] | None, AfterValidator(_of_weights)] = None
    defense: str | None = None
    classifier: dict[str, dict[str, Any]] | None = None
    settings: dict[str, Any] | None = None
    undefended: str | None = None
    tuning_members: str | None = None
    teacher: int | None = None
    original: OriginalSettings | None = None
    brought: str | None = None
    normalisation: dict[str, list[float]] | None = None

    def record(self) -> dict[str, Any]:
        """As checkpoints hold it: what does not apply is left out."""
        return {name: value for name, value in self if value is not None}


NOT_SAID_BEFORE = "normalisation"


def as_now(made_from: dict[str, Any], wanted: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a checkpoint of before says, as it is said now; what it cannot know is as in ``wanted``."""
    assumed = {name: value for name, value in (wanted or {}).items() if name == NOT_SAID_BEFORE}
    said = assumed | made_from
    return {**said, "ddpm": _of_weights(said["ddpm"])} if "ddpm" in said else said


def difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> str:
    """What changed between two nested mappings, as `lr: 0.1 -> 0.2`."""
    changes = []
    for key in sorted(set(old) | set(new)):
        was, now = old.get(key, "nothing"), new.get(key, "nothing")
        if isinstance(was, dict) and isinstance(now, dict):
            changes.append(difference(was, now, f"{prefix}{key}."))
        elif was != now:
            changes.append(f"{prefix}{key}: {was} -> {now}")
    return ", ".join(filter(None, changes))
