"""The bank: candidates kept on disk, so that nothing is purified twice.

Samples are kept in groups that are fixed by their place in a list. Processes share the groups out, and what is there of
a group is read and not computed. Intervals, answers, attacks and statistics need no diffusion model.

On disk a group is one float32 array [size, capacity + 1, K], the raw logits last and NaN where nothing was drawn, and
after it a seal that ties it to its bank and its place there. Fences that differ in N alone share a bank: each one's
candidates are the first N.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from common.diffence import Candidates, Diffence, Rule
from common.diffence.candidates import NOTHING, blank
from common.diffence.rule import settled
from common.runtime import distributed, ownership, progress, storage, tensors
from common.runtime.errors import UserError
from common.runtime.images import to_float
from common.runtime.progress import Bar


@dataclass(frozen=True)
class Part:
    """Samples of a list, such as the members.

    name:    of the list
    length:  of the whole list
    places:  int64 [n], where in the list they stand, rising
    images:  uint8 [n, C, H, W]
    """

    name: str
    length: int
    places: np.ndarray
    images: torch.Tensor


@dataclass(frozen=True)
class _Group:
    """Neighbours in a list, and which of them are wanted."""

    path: Path
    size: int
    rows: torch.Tensor  # int64, places in the group
    images: torch.Tensor  # uint8 [len(rows), C, H, W]


@dataclass(frozen=True)
class Bank:
    """The candidates of lists of samples behind one fence, in files of ``group_size`` samples.

    folder:    named by everything that the logits depend on
    capacity:  candidates that there is room for, at least the fence's own N
    device:    where the fence computes
    """

    fence: Diffence
    folder: Path
    group_size: int
    capacity: int
    num_classes: int
    device: torch.device

    def __post_init__(self) -> None:
        if self.capacity < self.fence.num_candidates:
            raise ValueError(f"capacity {self.capacity}: the fence has {self.fence.num_candidates} candidates")

    def draw(self, parts: Sequence[Part], *, until: Rule | None, desc: str) -> Candidates:
        """The candidates of all parts, each sample's drawn until one is accepted (see ``Diffence.draw``)."""
        groups = [group for part in parts for group in self._groups(part)]
        share = groups[distributed.share()]
        total = sum(len(group.rows) for group in share)
        shown = distributed.is_first()
        bar_of = progress.bar(total=total, unit="sample", desc=desc, shown=shown)
        with ownership.owned(self.folder), bar_of as bar:
            own = {group.path: self._fill(group, until, bar) for group in share}
            distributed.barrier()
        return Candidates.cat(
            own[group.path] if group.path in own else self._read_back(group, until) for group in groups
        )

    def _groups(self, part: Part) -> Iterator[_Group]:
        """The groups of a list that hold the wanted ones, with their images."""
        for number in np.unique(part.places // self.group_size):
            here = np.flatnonzero(part.places // self.group_size == number)
            first = number * self.group_size
            yield _Group(
                path=self.folder / f"{part.name}-{number:05}.npy",
                size=min(self.group_size, part.length - first),
                rows=torch.from_numpy(part.places[here] - first),
                images=part.images[torch.from_numpy(here)],
            )

    def _fill(self, group: _Group, until: Rule | None, bar: Bar) -> Candidates:
        """What is wanted of a group, drawn as far as it is not there; what was drawn is written once."""
        stored = self._read(group)
        known, images = self._own(stored, group), to_float(group.images.to(self.device))
        found = self.fence.draw(images, until=until, known=known, tick=bar.update)
        if (found.drawn > known.drawn).any():
            places = [*range(known.count), self.capacity]
            stored.logits[group.rows[:, None], places] = tensors.keeping_top(found.logits.float(), found.logits)
            stored.drawn[group.rows] = found.drawn.maximum(stored.drawn[group.rows])
            storage.write_array(group.path, _encoded(stored))
        return found

    def _read_back(self, group: _Group, until: Rule | None) -> Candidates:
        """What another process wrote of a group. Raises UserError where that cannot be read."""
        images = to_float(group.images.to(self.device))
        found = replace(self._own(self._read(group), group), rank=self.fence.ranks(images))
        if (found.drawn == NOTHING).any() or not settled(found, until).all():
            raise UserError(f"{group.path} cannot be read back as it was written: run the same command again")
        return found

    def _own(self, stored: Candidates, group: _Group) -> Candidates:
        """What the fence sees of what is wanted of a group: its first N candidates."""
        wanted, count = stored[group.rows], self.fence.num_candidates
        return Candidates(
            torch.cat([wanted.logits[:, :count], wanted.logits[:, -1:]], dim=1), wanted.drawn.clamp(max=count)
        )

    def _read(self, group: _Group) -> Candidates:
        """What a group's file holds; nothing where it is missing, or is not what was written in this place."""
        shape = (group.size, self.capacity + 1, self.num_classes)
        nothing = blank(group.size, count=self.capacity, num_classes=self.num_classes)
        try:
            stored = storage.read_array(group.path, most=4 * math.prod(shape) + 1024)
            if stored.shape != shape or stored.dtype != np.float32 or not _is_drawn_in_order(stored):
                raise ValueError("it has another shape or holes")
        except FileNotFoundError:
            return nothing
        except (ValueError, EOFError, OSError) as error:
            print(f"{group.path} is drawn anew: {error}", file=sys.stderr)
            return nothing
        return _decoded(stored)


def _encoded(candidates: Candidates) -> np.ndarray:
    array = candidates.logits.numpy().copy()
    there = np.arange(candidates.count) < candidates.drawn.numpy()[:, None]
    array[:, :-1][~there] = math.nan
    array[:, -1][candidates.drawn.numpy() == NOTHING] = math.nan
    return array


def _decoded(array: np.ndarray) -> Candidates:
    there = np.isfinite(array[:, :, 0])
    drawn = np.where(there[:, -1], there[:, :-1].sum(axis=1), NOTHING)
    return Candidates(torch.from_numpy(np.nan_to_num(array)), torch.from_numpy(drawn))


def _is_drawn_in_order(stored: np.ndarray) -> bool:
    """Whether every candidate is finite or all NaN, and none is there without those before it and the raw one."""
    there = np.isfinite(stored).all(axis=2)
    whole = (there | np.isnan(stored).all(axis=2)).all()
    raw, drawn = there[:, -1:], there[:, :-1]
    return bool(whole and (drawn <= raw).all() and (drawn[:, 1:] <= drawn[:, :-1]).all())
