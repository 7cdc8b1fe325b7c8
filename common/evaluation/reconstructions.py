"""Reconstructions kept on disk: they do not depend on the classifier, so one set serves every shadow model.

Group by group, so that no more than one group's are in memory.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from common.diffence import Candidates, Diffence
from common.runtime import distributed, ownership, progress, storage
from common.runtime.images import to_float
from common.runtime.progress import Bar


@dataclass(frozen=True)
class Reconstructions:
    """All reconstructions of some images by one fence.

    fence:       its classifier is not asked
    folder:      named by everything that the reconstructions depend on
    images:      uint8 [n, C, H, W]
    group_size:  images of a file
    """

    fence: Diffence
    folder: Path
    images: torch.Tensor
    group_size: int
    device: torch.device

    def fill(self, *, desc: str) -> None:
        """Make those that are not there; the processes share them out, and every process must come here."""
        groups = list(enumerate(self.images.split(self.group_size)))[distributed.share()]
        total = sum(len(images) for _, images in groups)
        shown = distributed.is_first()
        with ownership.owned(self.folder), progress.bar(total=total, unit="sample", desc=desc, shown=shown) as bar:
            for number, images in groups:
                self._group(number, images, bar)
            distributed.barrier()

    def classified(self, by: Diffence) -> Candidates:
        """What another classifier behind such a fence has for candidates, of all images."""
        return Candidates.cat(by.classified(images, found) for images, found in self._groups())

    def _groups(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images in [0, 1] [g, C, H, W] and their reconstructions [g, N, C, H, W]."""
        for number, images in enumerate(self.images.split(self.group_size)):
            yield to_float(images.to(self.device)), self._group(number, images, None)

    def _group(self, number: int, images: torch.Tensor, bar: Bar | None) -> torch.Tensor:
        """Read, or made and written where they are not there or not what was written."""
        path = self.folder / f"pool-{number:05}.npy"
        shape = (len(images), self.fence.num_candidates, *images.shape[1:])
        try:
            stored = storage.read_array(path, most=4 * math.prod(shape) + 1024)
            if stored.shape != shape or stored.dtype != np.float32:
                raise ValueError("it has another shape")
        except (OSError, ValueError, EOFError) as error:
            if not isinstance(error, FileNotFoundError):
                print(f"{path} is made anew: {error}", file=sys.stderr)
            tick = (lambda count: None) if bar is None else bar.update
            found = self.fence.reconstructions(to_float(images.to(self.device)), tick=tick)
            storage.write_array(path, found.float().numpy())
            return found
        if bar is not None:
            bar.update(len(images))
        return torch.from_numpy(stored)


def nobody(x: torch.Tensor) -> torch.Tensor:
    """The classifier of a fence that is only asked for reconstructions."""
    raise AssertionError("reconstructions need no classifier")
