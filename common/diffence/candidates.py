"""The lazy engine: each image's candidates are drawn in order until one is accepted, in passes that are full.

It knows no network: a function reconstructs and classifies. How candidates are judged is the rule's (rule.py), and of
each candidate phi is computed once.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace

import torch

from common.diffence.rule import Candidates, Rule, phi, settled
from common.runtime.device import PassSize

NOTHING = -1  # in place of the number of reconstructions: not even the raw logits are there

Reconstruct = Callable[[list[int], list[int]], torch.Tensor]
"""(images, candidate to draw of each) -> logits [m, K] of one pass"""


def blank(n: int, *, count: int, num_classes: int) -> Candidates:
    """Of n images nothing yet, not even the raw logits, with room for ``count`` reconstructions; float32."""
    return Candidates(torch.zeros(n, count + 1, num_classes), torch.full((n,), NOTHING))


def complete(
    known: Candidates,
    reconstruct: Reconstruct,
    *,
    until: Rule | None,
    size: PassSize,
    tick: Callable[[int], object],
) -> Candidates:
    """Draw until every image is settled; the raw logits must be there.

    ``tick`` is called with the number of images that have just been settled. Room that is left in a pass beside each
    waiting image's next candidate is filled by the ones after it.
    """
    logits, phis, drawn = known.logits.clone(), known.phi.clone(), known.drawn.tolist()
    labels = logits[:, -1].argmax(dim=1)
    waiting = (~settled(known, until)).nonzero()[:, 0].tolist()
    tick(len(known) - len(waiting))
    while waiting:
        room = size.room([drawn[row] for row in waiting])
        rows, places = _next_draws(drawn, waiting, count=known.count, room=room)
        new = reconstruct(rows, places)
        logits[rows, places] = new
        phis[rows, places] = phi(new)
        for row, place in zip(rows, places, strict=True):
            drawn[row] = place + 1
        done = {row for row in rows if drawn[row] == known.count}
        if until is not None:
            ends = until.accepts(
                phis[rows, places][:, None],
                (new.argmax(dim=1) == labels[rows])[:, None],
                None if known.rank is None else known.rank[rows],
            )
            done |= {row for row, is_end in zip(rows, ends[:, 0].tolist(), strict=True) if is_end}
        waiting = [row for row in waiting if row not in done]
        tick(len(done))
    return replace(known, logits=logits, drawn=torch.tensor(drawn, dtype=torch.int64)).judged(phis)


def _next_draws(drawn: list[int], waiting: list[int], *, count: int, room: int) -> tuple[list[int], list[int]]:
    """Images, and the candidate to draw of each: the next one, and where there is room the ones after it."""
    first = waiting[:room]
    draws = ((row, drawn[row] + ahead) for ahead in range(count) for row in first)
    chosen = itertools.islice((draw for draw in draws if draw[1] < count), room)
    rows, places = zip(*chosen, strict=True)
    return list(rows), list(places)
