"""What an attack is, and what it needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from common.attacks.observations import LabelKind, Observations, QueryKind

Sees = Literal["answer", "work", "label"]


class CannotRun(ValueError):
    """An attack cannot run on these observations: the message is the reason, which the report gives."""


@dataclass(frozen=True)
class Needs:
    """What an attack must have.

    queries:   how many queries of which kind for each sample
    labels:    how many changed images of which kind whose labels are seen
    boundary:  the distance to the nearest image of another label
    shadows:   shadow models
    """

    queries: Mapping[QueryKind, int] = field(default_factory=lambda: {"image": 1})
    labels: Mapping[LabelKind, int] = field(default_factory=dict)
    boundary: bool = False
    shadows: bool = False

    def together(self, other: "Needs") -> "Needs":
        """What two attacks need: the more of each kind."""

        def more(ours: Mapping[Any, int], theirs: Mapping[Any, int]) -> dict[Any, int]:
            return {kind: max(ours.get(kind, 0), theirs.get(kind, 0)) for kind in [*ours, *theirs]}

        return Needs(
            more(self.queries, other.queries),
            more(self.labels, other.labels),
            self.boundary or other.boundary,
            self.shadows or other.shadows,
        )

    def places(self, observations: Observations) -> np.ndarray:
        """Where among a sample's Q queries the needed ones stand, the first ones of each kind: int64."""
        kinds = np.array(observations.queries)
        return np.concatenate([np.flatnonzero(kinds == kind)[:count] for kind, count in self.queries.items()])

    @property
    def of_answers(self) -> "Needs":
        """Without what depends on labels alone."""
        return Needs(queries=self.queries, shadows=self.shadows)

    @property
    def beside_images(self) -> int:
        """Queries a sample beside the image itself, the search for the boundary left out."""
        return sum(count for kind, count in self.queries.items() if kind != "image") + sum(self.labels.values())

    @property
    def only_images(self) -> bool:
        """Whether nothing is asked beside the images themselves."""
        return not (set(self.queries) - {"image"} or self.labels or self.boundary)

    def asked(self, observations: Observations) -> int:
        """Queries a sample, those included of which the label alone is seen."""
        searching = observations.boundary_cost if self.boundary else 0
        return sum(self.queries.values()) + sum(self.labels.values()) + searching

    def missing(self, observations: Observations) -> str | None:
        """What the observations lack, as the report says it; None where nothing is missing."""
        for wanted, there in ((self.queries, observations.queries), (self.labels, observations.label_queries)):
            for kind, count in wanted.items():
                found = there.count(kind)
                if found < count:
                    return f"needs {count} queries a sample of the kind {kind!r}, and there are {found}"
        if self.boundary and observations.boundary is None:
            return (
                "needs a search for the boundary, which a fence that changes labels is not asked for: "
                "`pip install -r requirements-boundary.txt`, then `--attacks all`"
            )
        if self.shadows and observations.shadow_phi is None:
            return "needs shadow models, and there are none"
        return None


@dataclass(frozen=True)
class Fitting:
    """How attacks are fitted; the last two are the published code's ways.

    config:               the evaluation's configuration, in which an attack has a section where it needs one
    hindsight_threshold:  a threshold on one number is not fitted, since it will be picked in hindsight: scores stay as
                          they are
    choose_on:            an attack that is trained picks its epoch by these observations, not by a part of its own
    """

    config: Any
    seed: int
    hindsight_threshold: bool = False
    choose_on: Observations | None = None


@dataclass(frozen=True)
class Attack:
    """An attack, fitted on observations whose membership is known and scored on others.

    name:       as the registry and the reports have it
    source:     the paper it is from
    needs:      what it must have
    fit:        (observations with membership, fitting) -> what it has learnt; raises CannotRun with the reason
    scores:     (what it has learnt, observations) -> float64 [n], higher = more likely a member, and at least 0 where
                it says member, unless the threshold is picked in hindsight
    sees:       what it looks at, beside the true label: answers, the work behind them, or labels alone
    learns:     it learns more than a threshold from what it is fitted on, so it is never judged on that
    published:  the paper's code has it
    """

    name: str
    source: str
    needs: Needs
    fit: Callable[[Observations, Fitting], Any]
    scores: Callable[[Any, Observations], np.ndarray]
    sees: Sees = "answer"
    learns: bool = False
    published: bool = False

    @property
    def fast(self) -> bool:
        """Whether it needs neither shadow models nor a search for the boundary."""
        return not (self.needs.shadows or self.needs.boundary)
