"""The one record of an audit by shadow models: what it writes, what a summary reads, what tables are rendered from."""

from typing import Annotated, Literal

from pydantic import Field

from common.evaluation.record import Finite, Privacy, Share, Shares
from common.runtime.config import NonNegative, NonNegativeFloat, Record
from common.runtime.modes import ShadowDiffusion


class Rate(Record):
    """A share of hits at few mistakes, with all models' scores together; its 95 % interval is over the models.

    mistakes:  that the allowed rate comes to, among all models' samples; less than 1 is none
    """

    value: Share
    interval: Shares
    mistakes: NonNegativeFloat


class OfAllModels(Record):
    """Each model in its turn is the target: the mean AUC over them, and rates with their scores together."""

    auc: Share
    auc_ci: Shares
    tpr_at_fpr: dict[str, Rate]
    tnr_at_fnr: dict[str, Rate]


class Epsilon(Record):
    """A lower bound from the target alone at a threshold fixed on the fitting role, with 95 % confidence if the samples
    of one model were independent.

    ceiling:  the greatest that so many samples could give
    """

    lower_bound: NonNegativeFloat
    ceiling: NonNegativeFloat


class ShadowRow(Record):
    """One attack.

    auc, auc_ci:  on the target's final test alone, with the middle 95 % of resamples of its samples
    """

    auc: Share
    auc_ci: Shares
    models: OfAllModels
    canaries: OfAllModels | None = None
    epsilon: Epsilon


class OneRun(Record):
    """Steinke, Nasr and Jagielski's audit of the target by its canaries."""

    attack: str
    canaries: NonNegative
    guesses: NonNegative
    right: NonNegative
    lower_bound: NonNegativeFloat
    ceiling: NonNegativeFloat


class UnderFence(Record):
    """chosen: the attack of greatest mean AUC on the fitting role"""

    attacks: Annotated[dict[str, ShadowRow], Field(min_length=1)]
    not_run: dict[str, str]
    chosen: str
    one_run: OneRun | None = None


class Vulnerable(Record):
    """A sample that is easy to tell, found by one half of the shadow models and measured by the other half.

    separations:  by fence, between what models answer that were trained on it and that were not, in standard deviations
    """

    index: NonNegative  # in the training set
    label: NonNegative  # that it is trained with
    canary: bool
    member: bool  # of the target
    separations: dict[str, Finite]


class ShadowReport(Record):
    """shadows.json

    shadows:        how many shadow models
    diffusion:      whose the fence's diffusion model is: shared, the target's for all; own, each model's own
    test_accuracy:  of the target, and the mean of all models
    accounted:      what DP-SGD says that it spent
    delta:          of all epsilons
    notes:          what readers are to know of the target
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    dataset: str
    defense: str
    model: str
    seed: NonNegative
    shadows: NonNegative
    canaries: NonNegative
    diffusion: ShadowDiffusion
    samples: dict[str, NonNegative]  # by role
    test_accuracy: Share
    mean_test_accuracy: Share
    accounted: Privacy | None = None
    delta: NonNegativeFloat
    fences: Annotated[dict[str, UnderFence], Field(min_length=1)]
    vulnerable: list[Vulnerable]
    notes: Annotated[list[str], Field(default_factory=list)]
    versions: dict[str, str]
    seconds: NonNegativeFloat
