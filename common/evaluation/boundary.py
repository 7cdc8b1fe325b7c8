"""The distance to the nearest image of another label, searched by labels alone (HopSkipJump, from the library ART).

It starts from the nearest image of another label that the attacker has, and takes thousands of queries a sample, so it
is made for the first samples of each kind only. ART is optional: `pip install -r requirements-boundary.txt`.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from common.runtime import progress, rng
from common.runtime.config import Positive, Strict
from common.runtime.images import to_float


class BoundaryConfig(Strict):
    samples: Annotated[Positive, Field(ge=2)]  # at most so many members, and as many non-members, in each role
    steps: Positive  # of HopSkipJump


def is_installed() -> bool:
    return find_spec("art") is not None


Labelling = Callable[[torch.Tensor], torch.Tensor]
"""Images [B, C, H, W] in [0, 1] -> logits [B, K], on the CPU both."""


def search(
    labelling: Labelling, images: torch.Tensor, member: np.ndarray, config: BoundaryConfig, *, key: rng.Part, desc: str
) -> tuple[np.ndarray, int] | None:
    """L2 distance in [0, 1] of uint8 images [n, C, H, W] to the nearest one found with another label: float64 [n].

    NaN where it was not searched, or nothing was found. Also how many labels a sample's search asked for, in the mean.
    None where ART is not installed.
    """
    if not is_installed():
        return None
    x = to_float(images)
    labels = labelling(x).argmax(dim=1)
    first = np.concatenate([np.flatnonzero(kind)[: config.samples] for kind in (member, ~member)])
    distances, asked = np.full(len(images), np.nan), 0
    with progress.bar(total=len(first), unit="sample", desc=desc) as bar:
        for place in map(int, first):
            others = x[labels != labels[place]]
            if len(others):
                start = others[(others - x[place]).flatten(1).norm(dim=1).argmin()]
                with rng.numpy_global_draws(key, "boundary", rng.sample_key(x[place])):
                    distances[place], queries = _distance(labelling, x[place], start, config.steps)
                asked += queries
            bar.update()
    return distances, round(asked / len(first))


def _distance(labelling: Labelling, x: torch.Tensor, start: torch.Tensor, steps: int) -> tuple[float, int]:
    """Of an image [C, H, W], searched from one of another label, and how many labels were asked for."""
    from art.attacks.evasion import HopSkipJump
    from art.estimators.classification import BlackBoxClassifier

    asked = 0

    def labels(images: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += len(images)
        logits = labelling(torch.from_numpy(images.astype(np.float32)))
        return np.eye(logits.shape[1], dtype=np.float32)[logits.argmax(dim=1).numpy()]

    image = x[None].numpy()
    num_classes = labels(image).shape[1]
    classifier = BlackBoxClassifier(labels, tuple(x.shape), num_classes, clip_values=(0.0, 1.0))
    attack = HopSkipJump(classifier, max_iter=steps, verbose=False)
    found = attack.generate(image, x_adv_init=start[None].numpy())
    same = labels(image).argmax() == labels(found).argmax()
    return (np.nan if same else float(np.linalg.norm(found - image))), asked
