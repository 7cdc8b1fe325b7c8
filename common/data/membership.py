"""Whose members these are: the published ones, and a classifier's own, or not known to be."""

from dataclasses import dataclass
from pathlib import Path

from common.data import permutations
from common.data.partition import Partition, Permutation
from common.runtime import storage
from common.runtime.errors import UserError

VOUCHED = (
    "The classifier was trained elsewhere: that the members here are its members is the word of whoever brought it "
    "(train_defense.py --from), and the figures mean nothing where that is wrong"
)


def verdict(partition: Partition) -> str:
    """One line: where the permutation comes from, and whether members are the published members."""
    permutation = partition.permutation
    if permutation.listed:
        return f"members: those of the list in configs/, in the order of {permutation.source}"
    source = f"permutation: {permutation.source}"
    if permutation.sha256 is not None:
        source += f", sha256 {permutation.sha256[:16]}…"
    if permutation.published is None:
        return f"{source}; none is published for {permutation.dataset}"
    if not permutation.published and permutation.sha256 is None:
        return f"{source}, not the published one: members are not the published members"
    if not permutation.published:
        return f"{source}, not recognised as the published file: members may not be the published members"
    expected = permutations.PUBLISHED[permutation.dataset].members
    if len(partition.members) != expected:
        return f"{source}, the published one, but with {len(partition.members)} members where {expected} are published"
    return f"{source}, the published one: members are the published members"


@dataclass(frozen=True)
class Membership:
    """Whether members are a classifier's own (None: unknown), and the lines of text that a reader must see."""

    permutation: Permutation
    trained_with_it: bool | None
    lines: list[str]


def membership(
    partition: Partition, *, trained_on: str | None, diffusion_on: str | None = None, brought: bool = False
) -> Membership:
    """Whether members are a classifier's own.

    trained_on, diffusion_on:  keys of the partitions of classifier and diffusion model, where their files know them
    brought:                   the classifier was trained elsewhere, and ``trained_on`` is its user's word
    """
    permutation = partition.permutation
    own = None if trained_on is None else trained_on == partition.key
    lines = [verdict(partition)]
    if own is False:
        lines.append(
            "WARNING: the classifier was trained on another partition: members here are not its members, "
            "and the figures below do not measure what it gives away"
        )
    elif own is None and not (permutation.published or permutation.listed):
        lines.append(
            "WARNING: the classifier was trained elsewhere, and the permutation is not known to be its own: "
            "members here may not be its members, and then the figures below mean nothing"
        )
    if brought and own:
        own = None  # no file of ours says so
        lines.append(VOUCHED)
    if diffusion_on not in (None, partition.key):
        lines.append("WARNING: the diffusion model was trained on another partition: members here are not its images")
    return Membership(permutation, own, lines)


def require_in_use(path: Path, partition: Partition) -> None:
    """Raise UserError where a permutation file has been put in place and the partition was made without it."""
    source = partition.permutation
    if path.is_file() and storage.file_sha256(path) != source.sha256:
        raise UserError(
            f"{path} is there, but the partition was made from {source.source}: make it again with "
            "`python data_partition.py`, or move the file away"
        )
