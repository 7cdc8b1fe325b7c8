"""What attackers ask about a role's samples beside the images themselves, and what they are answered."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from common.attacks.interface import Needs
from common.attacks.observations import LabelKind, QueryKind
from common.data.partition import Role
from common.diffence import Rule, answer
from common.evaluation import boundary, near_copies
from common.evaluation.answers import Asked, FencedPopulation, Further
from common.evaluation.bank import Part
from common.evaluation.boundary import BoundaryConfig
from common.evaluation.queries import changed
from common.runtime import distributed, progress, rng
from common.runtime.images import to_float

TOGETHER = 8  # changes of all images whose labels are asked for at once


def ask(
    fenced: FencedPopulation, role: Role, rule: Rule, needs: Needs, config: BoundaryConfig, *, desc: str
) -> Further:
    """Ask all that the attacks need; every process must ask the same.

    config:  of the search for the boundary

    Of several processes only the first looks at the classifier's own labels, since nobody else judges.
    """
    images = fenced.population.images(role)
    blocks = list(_blocks(fenced, role, rule, needs, images, desc=desc))
    kinds = [(kind, number) for kind, count in needs.labels.items() for number in range(count)]
    behind_fence = None if rule.keeps_labels else _kept(_answered(fenced, role, rule, desc=desc), len(images), kinds)
    if not distributed.is_first():
        kinds = []
    with progress.bar(total=len(kinds), unit="query", desc=f"{desc}, labels", shown=bool(kinds)) as bar:
        own = _kept(_classified(fenced, images), len(images), kinds, tick=bar.update)
    distances = None
    if needs.boundary and distributed.is_first():
        member, bank = np.arange(len(images)) < len(role.members), fenced.bank
        fence = bank.fence
        distances = boundary.search(
            lambda x: fence.labelling(x.to(bank.device)),
            images,
            member,
            config,
            key=fence.key,
            desc=f"{desc}, boundary",
        )
    return Further(
        queries=tuple(kind for kind, asked in blocks for _ in range(asked.raw.shape[1])),
        asked=[asked for _, asked in blocks],
        label_queries=tuple(kind for kind, _ in kinds),
        labels_kept=own,
        fenced_labels_kept=behind_fence,
        boundary=distances,
    )


def _blocks(
    fenced: FencedPopulation, role: Role, rule: Rule, needs: Needs, images: torch.Tensor, *, desc: str
) -> Iterator[tuple[QueryKind, Asked]]:
    """A kind of query, and the answers [n, count]."""
    fence = fenced.bank.fence
    for kind, count in needs.queries.items():
        if kind == "image" or not count:
            continue
        if kind == "near_copy" and fence.noise == "per_image":
            pool = fenced.near.draw(fenced.population.parts(role), until=None, desc=f"{desc}, near-copies")
            keys = [rng.sample_key(image) for image in to_float(images)]
            group, key = fence.num_candidates, fenced.near.fence.key
            yield kind, near_copies.simulated(pool, rule, keys, count=count, group=group, seed=key, work=fence.work)
        else:
            found = fenced.bank.draw(_parts(fenced, role, kind, range(count)), until=rule, desc=f"{desc}, {kind}")
            asked = Asked.of(found, rule, work=fence.work)
            yield kind, Asked(*(_by_sample(part, count) for part in asked))


def _parts(fenced: FencedPopulation, role: Role, kind: QueryKind | LabelKind, numbers: Iterable[int]) -> list[Part]:
    """The changed images of a role: for each number its members and its non-members."""
    seed = fenced.bank.fence.key
    return [
        Part(f"{part.name}-{kind}-{number}", part.length, part.places, changed(part.images, kind, number, seed=seed))
        for number in numbers
        for part in fenced.population.parts(role)
    ]


def _by_sample(of_numbers: torch.Tensor, count: int) -> torch.Tensor:
    """What there is of n samples for each number in turn, [count * n, ...], with the sample first: [n, count, ...]."""
    return of_numbers.unflatten(0, (count, -1)).transpose(0, 1)


Labels = Callable[[Sequence[tuple[LabelKind | QueryKind, int]]], torch.Tensor]
"""Of each change in turn, what the changed images are labelled: int64 [changes, n]"""


def _classified(fenced: FencedPopulation, images: torch.Tensor) -> Labels:
    """By the classifier, so nothing is purified."""
    fence, device = fenced.bank.fence, fenced.bank.device

    def labels(asked: Sequence[tuple[LabelKind | QueryKind, int]]) -> torch.Tensor:
        x = torch.cat([changed(images, kind, number, seed=fence.key) for kind, number in asked])
        return fence.labelling(to_float(x.to(device))).argmax(dim=1).unflatten(0, (len(asked), -1))

    return labels


def _answered(fenced: FencedPopulation, role: Role, rule: Rule, *, desc: str) -> Labels:
    """By the fence."""

    def labels(asked: Sequence[tuple[LabelKind | QueryKind, int]]) -> torch.Tensor:
        found = []
        for kind, number in asked:
            parts = fenced.population.parts(role) if kind == "image" else _parts(fenced, role, kind, [number])
            drawn = fenced.bank.draw(parts, until=rule, desc=f"{desc}, labels, {kind} {number}")
            found.append(answer(drawn, rule).logits.argmax(dim=1))
        return torch.stack(found)

    return labels


def _kept(
    labels: Labels,
    n: int,
    kinds: Sequence[tuple[LabelKind, int]],
    *,
    tick: Callable[[int], object] = lambda queries: None,
) -> np.ndarray:
    """Whether changed images get the label of the image: bool [n, len(kinds)]."""
    kept = torch.zeros(len(kinds), n, dtype=torch.bool)
    own = labels([("image", 0)]) if kinds else None
    for start in range(0, len(kinds), TOGETHER):
        rows = slice(start, start + TOGETHER)
        kept[rows] = labels(kinds[rows]) == own
        tick(len(kinds[rows]))
    return kept.T.numpy()
