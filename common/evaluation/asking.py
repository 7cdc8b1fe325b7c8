"""What attackers ask about a role's samples beside the images themselves, and what they are answered."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from common.attacks.interface import LabelKind, Needs, QueryKind
from common.data.partition import Role
from common.diffence import Candidates, Interval, select, take
from common.diffence.rule import reconstructions_needed
from common.evaluation import boundary, near_copies
from common.evaluation.answers import FencedPopulation, Further
from common.evaluation.bank import Part
from common.evaluation.boundary import BoundaryConfig
from common.evaluation.queries import changed
from common.runtime import distributed, progress, rng
from common.runtime.images import to_float

Block = tuple[QueryKind, np.ndarray, np.ndarray, np.ndarray]
"""A kind, raw answers and fenced ones [n, count, K], and the work behind the latter [n, count]."""


def ask(
    fenced: FencedPopulation, role: Role, interval: Interval, needs: Needs, config: BoundaryConfig, *, desc: str
) -> Further:
    """Ask all that the attacks need; every process must ask the same.

    config:  of the search for the boundary

    Of several processes only the first looks at labels, since nobody else judges.
    """
    images = fenced.population.images(role)
    blocks = list(_blocks(fenced, role, interval, needs, images, desc=desc))
    judges = distributed.is_first()
    kinds = [(kind, number) for kind, count in needs.labels.items() for number in range(count)] if judges else []
    kept = _labels_kept(fenced, images, kinds, desc=f"{desc}, labels")
    n, num_classes = len(images), fenced.bank.num_classes
    none = np.zeros((n, 0, num_classes), dtype=np.float32)
    distances = None
    if needs.boundary and judges:
        member, bank = np.arange(n) < len(role.members), fenced.bank
        distances = boundary.search(bank.fence, images, member, config, device=bank.device, desc=f"{desc}, boundary")
    return Further(
        queries=tuple(kind for kind, raw, _, _ in blocks for _ in range(raw.shape[1])),
        raw=np.concatenate([none, *(raw for _, raw, _, _ in blocks)], axis=1),
        fenced=np.concatenate([none, *(answers for _, _, answers, _ in blocks)], axis=1),
        work=np.concatenate([none[..., 0], *(work for *_, work in blocks)], axis=1),
        label_queries=tuple(kind for kind, _ in kinds),
        labels_kept=kept,
        boundary=distances,
    )


def _blocks(
    fenced: FencedPopulation, role: Role, interval: Interval, needs: Needs, images: torch.Tensor, *, desc: str
) -> Iterator[Block]:
    for kind, count in needs.queries.items():
        if kind == "near_copy" and count:
            pool = fenced.near.draw(fenced.population.parts(role), until=None, desc=f"{desc}, near-copies")
            keys = [rng.sample_key(image) for image in to_float(images)]
            group = fenced.bank.fence.num_candidates
            seed = fenced.near.fence.seed
            answers, work = near_copies.simulated(pool, interval, keys, count=count, group=group, seed=seed)
            raw = pool.logits[:, -1:].expand_as(answers)
            yield kind, raw.numpy(), answers.numpy(), work.numpy()
        elif kind != "image" and count:
            found = fenced.bank.draw(_parts(fenced, role, kind, count), until=interval, desc=f"{desc}, {kind}")
            yield kind, *_answers(found, interval, len(images), count)


def _parts(fenced: FencedPopulation, role: Role, kind: QueryKind, count: int) -> list[Part]:
    """The changed images of a role: for each number its members and its non-members."""
    seed = fenced.bank.fence.seed
    return [
        Part(f"{part.name}-{kind}-{number}", part.length, part.places, changed(part.images, kind, number, seed=seed))
        for number in range(count)
        for part in fenced.population.parts(role)
    ]


def _answers(found: Candidates, interval: Interval, n: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates of n samples for each number in turn, as arrays with the sample first."""
    num_classes = found.logits.shape[-1]
    answers = take(found, select(found, interval))
    work = reconstructions_needed(found, interval)

    def by_sample(logits: torch.Tensor) -> np.ndarray:
        return logits.reshape(count, n, num_classes).transpose(0, 1).numpy()

    return by_sample(found.logits[:, -1]), by_sample(answers), work.reshape(count, n).T.numpy()


def _labels_kept(
    fenced: FencedPopulation, images: torch.Tensor, kinds: Sequence[tuple[LabelKind, int]], *, desc: str
) -> np.ndarray:
    """Whether the classifier gives changed images the label of the image: bool [n, len(kinds)]."""
    fence, device = fenced.bank.fence, fenced.bank.device

    def labels(asked: torch.Tensor) -> torch.Tensor:
        return fence.raw(to_float(asked.to(device))).argmax(dim=1)

    kept = torch.zeros(len(images), len(kinds), dtype=torch.bool)
    own = labels(images)
    with progress.bar(total=len(kinds), unit="query", desc=desc, shown=bool(kinds)) as bar:
        for place, (kind, number) in enumerate(kinds):
            kept[:, place] = labels(changed(images, kind, number, seed=fence.seed)) == own
            bar.update()
    return kept.numpy()
