"""What an item of the paper is, and what it makes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from matplotlib.figure import Figure

from common.experiment.experiment import Experiment
from common.experiment.shadow_store import Store
from common.paper import words
from common.paper.bench import Bench, Case
from common.reports.paper import Paper
from common.runtime.subject import Subject
from common.training.jobs import Job


@dataclass(frozen=True)
class Table:
    """caption: what it shows, as a sentence"""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Made:
    """An item as it came out here.

    paper, ours:  the one number that says most, as text, for the index
    says:         what came out, in a sentence
    figures:      by name
    notes:        how it was made, and what differs from the paper beside the dataset, line by line
    """

    paper: str
    ours: str
    says: str
    tables: Sequence[Table] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class OwnDiffusion:
    """A diffusion model that an item trains for itself.

    experiment:  that trains it
    images:      gives what it learns from, uint8 [n, C, H, W]; None takes those that configs/ddpm.yaml says
    """

    experiment: Experiment
    job: Job
    images: Callable[[], torch.Tensor] | None = None


@dataclass(frozen=True)
class Item:
    """A table or figure of the paper.

    title:      as the paper numbers it, and what it shows
    defenses:   the classifiers that it needs
    make:       from a bench of each dataset, and the paper's numbers
    of:         what the paper's numbers are of
    others:     classifiers that are trained in another way, with the experiment that trains each, in order
    diffusion:  the diffusion models that it trains for itself
    shadows:    stores of shadow models, with how many each has
    cases:      whose verdicts it asks for
    counts:     says how many samples a dataset has, and on how many of them something is judged
    timed:      it takes the time of what it does, so nothing else runs meanwhile
    lacks:      says what it needs that only the user can bring, where that is missing
    """

    title: str
    defenses: Sequence[str]
    make: Callable[[Sequence[Bench], Paper], Made]
    of: str
    others: Callable[[Experiment], Sequence[tuple[Experiment, Subject]]] = lambda experiment: ()
    diffusion: Callable[[Bench], Sequence[OwnDiffusion]] = lambda bench: ()
    shadows: Callable[[Bench], Sequence[tuple[Store, int]]] = lambda bench: ()
    cases: Callable[[Bench], Sequence[Case]] = lambda bench: ()
    counts: Callable[[Bench], str] = words.members
    timed: bool = False
    lacks: Callable[[Bench], str | None] = lambda bench: None
