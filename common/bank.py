"""The bank of candidate logits: what an evaluation keeps on disk, so that nothing is purified twice.

Samples are kept in groups that are fixed by their place in the partition's lists. Processes share the groups out, and a
group that is there is read and not computed. Intervals, answers, attacks and statistics need no diffusion model.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from common import diffence, distributed, storage
from common.attacks.answers import Answers
from common.datasets import to_float
from common.diffence import Diffence, Interval
from common.errors import UserError
from common.experiment import Experiment
from common.partition import Role


@dataclass(frozen=True)
class Bank:
    """Candidate logits of one role, [n, N + 1, K], the raw ones last and NaN where none was drawn, and labels [n]."""

    members: torch.Tensor
    non_members: torch.Tensor
    member_labels: torch.Tensor
    non_member_labels: torch.Tensor

    def answers(self, interval: Interval | None) -> Answers:
        """The fenced answers, or the raw ones where there is no interval."""
        logits = torch.cat([_answer(part, interval) for part in (self.members, self.non_members)])
        labels = torch.cat([self.member_labels, self.non_member_labels])
        member = np.arange(len(labels)) < len(self.members)
        return Answers(logits.double().numpy(), labels.numpy(), member)

    def raw_answer_rate(self, interval: Interval) -> float:
        """Share of samples that the raw candidate, the last resort, answers."""
        parts = [self.members, self.non_members]
        raw = torch.cat([diffence.select(part, interval) == part.shape[1] - 1 for part in parts])
        return float(raw.double().mean())

    def reconstructions_per_query(self, interval: Interval) -> float:
        """Mean number of reconstructions that a fenced answer needs."""
        parts = [self.members, self.non_members]
        return float(torch.cat([diffence.reconstructions_needed(part, interval) for part in parts]).double().mean())


def _answer(candidates: torch.Tensor, interval: Interval | None) -> torch.Tensor:
    if interval is None:
        return candidates[:, -1]
    return diffence.take(candidates, diffence.select(candidates, interval))


@dataclass(frozen=True)
class _Group:
    """Neighbours in one of the partition's lists, and which of them a role needs."""

    path: Path
    size: int
    rows: torch.Tensor  # int64, places in the group
    images: torch.Tensor  # uint8 [len(rows), C, H, W]


@dataclass(frozen=True)
class BankStore:
    """The candidates of an experiment's members and test samples behind one fence, in files of ``group_size`` samples.

    folder: named by everything the logits depend on
    """

    experiment: Experiment
    fenced: Diffence
    folder: Path
    group_size: int

    def bank(self, role: Role, *, until: Interval | None, desc: str) -> Bank:
        """The candidates of a role's samples, each sample's drawn until one is accepted (see ``Diffence.draw``)."""
        part = self.experiment.partition
        members = self.experiment.training_part(role.members)
        non_members = self.experiment.test_part(role.non_members)
        groups = [
            list(self._groups("members", part.members, role.members, members.images)),
            list(self._groups("test", part.test_order, role.non_members, non_members.images)),
        ]
        share = [*groups[0], *groups[1]][distributed.share()]
        total = sum(len(group.rows) for group in share)
        with self._alone(), tqdm(total=total, unit="sample", desc=desc, disable=not distributed.is_first()) as bar:
            for group in share:
                self._fill(group, until, bar)
            distributed.barrier()
        logits = [torch.cat([self._drawn(group, until) for group in kind]) for kind in groups]
        return Bank(logits[0], logits[1], members.labels.cpu(), non_members.labels.cpu())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Within the block no other evaluation writes to the bank; it waits for its turn."""
        with storage.locked(self.folder / "lock") if distributed.is_first() else nullcontext():
            distributed.barrier()  # until the first process has the bank for all
            yield

    def _groups(self, name: str, among: np.ndarray, chosen: np.ndarray, images: torch.Tensor) -> Iterator[_Group]:
        """The groups of a list that hold the chosen ones, which stand in it in this order, with their images."""
        places = _places(among, chosen)
        for number in np.unique(places // self.group_size):
            here = np.flatnonzero(places // self.group_size == number)
            first = number * self.group_size
            yield _Group(
                path=self.folder / f"{name}-{number:05}.npy",
                size=min(self.group_size, len(among) - first),
                rows=torch.from_numpy(places[here] - first),
                images=images[torch.from_numpy(here)],
            )

    def _fill(self, group: _Group, until: Interval | None, bar: tqdm) -> None:
        stored = self._read(group)
        known = stored[group.rows]
        drawn = self.fenced.draw(to_float(group.images), until=until, known=known, tick=bar.update)
        if drawn.isnan().sum() < known.isnan().sum():
            stored[group.rows] = drawn
            storage.write_array(group.path, stored.numpy())

    def _drawn(self, group: _Group, until: Interval | None) -> torch.Tensor:
        """The role's part of a group that has been filled. Raises UserError where that cannot be read back."""
        drawn = self._read(group)[group.rows]
        if diffence.unsettled(drawn, range(len(drawn)), until) or drawn[:, -1].isnan().any():
            raise UserError(f"{group.path} cannot be read back as it was written: run the same command again")
        return drawn

    def _read(self, group: _Group) -> torch.Tensor:
        """What a group's file holds; nothing but NaN where it is missing or not what it should be."""
        shape = (group.size, self.fenced.num_candidates + 1, self.experiment.spec.num_classes)
        try:
            with group.path.open("rb") as file:
                stored = np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, OSError, EOFError, MemoryError):
            stored = None
        if stored is None or stored.shape != shape or stored.dtype != np.float32 or not _is_drawn_in_order(stored):
            return torch.full(shape, math.nan)
        return torch.from_numpy(stored)


def _is_drawn_in_order(stored: np.ndarray) -> bool:
    """Whether every candidate is finite or all NaN, and none is there without those before it and the raw one."""
    there = np.isfinite(stored).all(axis=2)
    whole = (there | np.isnan(stored).all(axis=2)).all()
    raw, drawn = there[:, -1:], there[:, :-1]
    return bool(whole and (drawn <= raw).all() and (drawn[:, 1:] <= drawn[:, :-1]).all())


def _places(among: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Where each chosen index stands among distinct ones."""
    order = np.argsort(among)
    return order[np.searchsorted(among, chosen, sorter=order)]
