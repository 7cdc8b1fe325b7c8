"""A classifier asked by itself, without a fence: its answers to images, and to the changed ones that attacks want."""

from collections.abc import Callable

import numpy as np
import torch

from common.attacks.interface import Needs
from common.attacks.observations import LabelKind, Observations, QueryKind
from common.evaluation import boundary
from common.evaluation.boundary import BoundaryConfig
from common.evaluation.outputs import Logits, logits_of
from common.evaluation.queries import changed
from common.runtime import progress
from common.runtime.images import Labelled, to_float
from common.runtime.modes import Answers

Classify = Callable[[torch.Tensor], torch.Tensor]
"""Images float [B, C, H, W] in [0, 1] -> logits or probabilities [B, K], on the CPU both."""


def observe(
    classify: Classify,
    samples: Labelled,
    member: np.ndarray,
    needs: Needs,
    config: BoundaryConfig,
    *,
    outputs: Answers | None,
    seed: int,
    batch: int = 64,
) -> tuple[Observations, Logits]:
    """What attacks that need all this have of n samples, members and non-members: each image and change is asked once.

    outputs:  what the classifier gives; None tells it by the sums
    batch:    images that are asked together

    Raises ValueError where the classifier gives something else than [B, K] of finite logits or probabilities.
    """
    images, pixels = samples.images, samples.images[0, 0].numel()
    queries: list[tuple[QueryKind, int]] = [(kind, n) for kind, count in needs.queries.items() for n in range(count)]
    queries = [(kind, n) for kind, n in queries if kind != "near_copy" or n < pixels]  # each changes another pixel
    labels: list[tuple[LabelKind, int]] = [(kind, n) for kind, count in needs.labels.items() for n in range(count)]
    plan = list(dict.fromkeys([*queries, *labels]))
    answers: dict[tuple[str, int], np.ndarray] = {}
    with progress.bar(total=len(plan) * len(images), unit="query", desc="ask the classifier") as bar:
        for kind, number in plan:
            asked = to_float(changed(images, kind, number, seed=seed)).split(batch)
            answers[kind, number] = np.concatenate([_answer(classify, part, tick=bar.update) for part in asked])
    own = answers["image", 0].argmax(axis=1)
    kept = np.array([answers[each].argmax(axis=1) == own for each in labels])
    nearest = None
    if needs.boundary:
        nearest = boundary.search(_labelling(classify, batch), images, member, config, key=seed, desc="boundary")
    found = logits_of(np.stack([answers[each] for each in queries], axis=1), outputs, shape="[n, Q, K]")
    observations = Observations(
        found.values,
        samples.labels.numpy(),
        member,
        queries=tuple(kind for kind, _ in queries),
        labels_kept=kept.T if labels else None,
        label_queries=tuple(kind for kind, _ in labels),
        boundary=nearest and nearest[0],
        boundary_cost=nearest[1] if nearest else 0,
    )
    return observations, found


def _answer(classify: Classify, x: torch.Tensor, *, tick: Callable[[int], object]) -> np.ndarray:
    """float [B, K]"""
    given = classify(x)
    if not isinstance(given, torch.Tensor) or given.ndim != 2 or len(given) != len(x):
        found = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
        raise ValueError(f"the classifier answered {found} to {len(x)} images, expected a tensor [{len(x)}, K]")
    tick(len(x))
    return given.float().numpy() if given.dtype != torch.float64 else given.numpy()


def _labelling(classify: Classify, batch: int) -> boundary.Labelling:
    return lambda x: torch.cat([classify(part) for part in x.split(batch)])
