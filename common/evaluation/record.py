"""The one record of a report: what an evaluation writes, what a summary reads, and what tables are rendered from.

report.json, schema 1. Keys may be added, never renamed; what was added later has a default, so older reports are read.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from common.evaluation.origin import Made, PermutationRecord
from common.runtime.config import NonNegative, NonNegativeFloat, Record, later
from common.runtime.modes import Answers, OriginalSettings
from common.runtime.subject import Subject

Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _rising(ends: list[float]) -> list[float]:
    if ends[0] > ends[1]:
        raise ValueError("its ends are the wrong way round")
    return ends


Ends = Annotated[list[Finite], Field(min_length=2, max_length=2), AfterValidator(_rising)]
Shares = Annotated[list[Share], Field(min_length=2, max_length=2), AfterValidator(_rising)]


class Difference(Record):
    """A value with Diffence less that without, with the middle 95 % over resamples that both share."""

    value: Finite
    interval: Ends

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.interval[0]:+.3f}, {self.interval[1]:+.3f}]"


class Estimate(Record):
    """A value with its 95 % interval."""

    value: NonNegativeFloat
    interval: Ends


class Point(Record):
    """A rate at few mistakes: so many hits of so many, at so many mistakes among so many.

    interval:  of the rate: the wider of what resamples give, each with a threshold of its own, and of the exact one
               (Clopper and Pearson), which takes the threshold for known
    resolved:  whether the allowed rate of mistakes is at least one among those there are; else it means none at all
    """

    hits: NonNegative
    of: NonNegative
    mistakes: NonNegative
    among: NonNegative
    interval: Shares
    resolved: bool


class AttackRow(Record):
    """One attack: AUC with its 95 % interval, balanced accuracy, TPR by FPR and TNR by FNR.

    ppv:      by prior, the share of members among those that it calls members
    queries:  how many a sample it asked
    """

    auc: Share
    auc_ci: Shares
    balanced_accuracy: Share | None = None
    balanced_accuracy_ci: Shares | None = None
    tpr_at_fpr: dict[str, Share]
    tnr_at_fnr: Annotated[dict[str, Share], Field(default_factory=dict)]
    tpr_points: Annotated[dict[str, Point], Field(default_factory=dict)]
    tnr_points: Annotated[dict[str, Point], Field(default_factory=dict)]
    ppv: Annotated[dict[str, Estimate], Field(default_factory=dict)]
    queries: NonNegative | None = None
    difference: Difference | None = None  # of the AUC; with Diffence only


class Best(Record):
    """The attack of greatest AUC: what a user has to fear, if the attacker happens to choose well.

    A maximum over tries on one test set is too great by chance. ``selection_bias`` estimates by how much: the mean over
    bootstrap maxima less the maximum; ``auc_ci`` is the middle of the bootstrap maxima, each over all attacks.
    """

    auc: Share
    auc_ci: Shares | None = None
    balanced_accuracy: Share
    attack: str | None = None
    selection_bias: Finite | None = None
    difference: Difference | None = None  # of the AUC; with Diffence only


class Chosen(Record):
    """The attack that an attacker would choose by the fitting role alone, as it fares in the final test."""

    attack: str
    auc: Share
    auc_ci: Shares
    auc_where_chosen: Share  # cross-validated on the fitting role
    difference: Difference | None = None  # of the AUC; with Diffence only


class Bins(Record):
    """Of equal width in confidence: how many answers, their mean confidence, and the share of right ones."""

    counts: list[NonNegative]
    confidences: list[Share]
    accuracies: list[Share]


class Utility(Record):
    """What the probabilities of answers to non-members of the final test are worth to an honest user."""

    calibration_error: Estimate
    negative_log_likelihood: Estimate
    brier_score: Estimate
    bins: Bins


class Reduction(Record):
    """By what share of its value without Diffence something is lower with it."""

    relative: Finite
    standard_error: NonNegativeFloat


class Reductions(Record):
    auc: Reduction
    balanced_accuracy: Reduction


class Accuracy(Record):
    """Of members, which are training samples, and of non-members."""

    train: Share
    test: Share


class UnderProtocol(Record):
    attacks: Annotated[dict[str, AttackRow], Field(min_length=1)]
    not_run: Annotated[dict[str, str], Field(default_factory=dict)]  # attack -> why
    best: Best
    chosen: Chosen | None = None
    utility: Utility | None = None
    interval: Ends | None = None  # of phi; None without Diffence, and in scenario 3
    accuracy: Accuracy | None = None
    label_agreement: Share | None = None
    raw_answer_rate: Share | None = None
    reconstructions_per_query: NonNegativeFloat | None = None
    reduction: Reductions | None = None  # with Diffence only

    @model_validator(mode="after")
    def _best_is_the_best(self) -> "UnderProtocol":
        best, rows = self.best, self.attacks.values()
        if best.auc < max(row.auc for row in rows):
            raise ValueError("best.auc is less than that of one of its attacks")
        if best.balanced_accuracy < max(row.balanced_accuracy or 0.0 for row in rows):
            raise ValueError("best.balanced_accuracy is less than that of one of its attacks")
        if best.attack is not None and best.auc != getattr(self.attacks.get(best.attack), "auc", None):
            raise ValueError("best.auc is not that of best.attack")
        if self.chosen is not None and self.chosen.attack not in self.attacks:
            raise ValueError("the chosen attack is none of those that ran")
        ends = best.auc_ci
        if ends is not None and any(row.auc_ci[0] > ends[0] or row.auc_ci[1] > ends[1] for row in rows):
            raise ValueError("best.auc_ci, of the greatest of all attacks, lies below that of one of them")
        return self


class Privacy(Record):
    """What DP-SGD spent on the classifier."""

    epsilon: NonNegativeFloat
    delta: Annotated[float, Field(gt=0, lt=1)]
    noise_multiplier: NonNegativeFloat
    max_grad_norm: NonNegativeFloat


class Counts(Record):
    members: NonNegative
    non_members: NonNegative


class Report(Record):
    """What stands outside of ``protocols`` holds under the main one."""

    verdict: str | None = None  # in one sentence
    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    dataset: str
    defense: str
    model: str = "resnet"
    original: OriginalSettings | None = later(None)  # the defence as in whose paper it was trained
    outputs: Answers | None = later(None)  # of a classifier that was audited without its dataset, by its answers
    diffence: bool
    interval: Ends | None = None
    accuracy: Accuracy
    label_agreement: Share | None = None
    raw_answer_rate: Share | None = None
    reconstructions_per_query: NonNegativeFloat | None = None
    protocols: Annotated[dict[str, UnderProtocol], Field(min_length=1)]
    counts: Annotated[dict[str, Counts], Field(default_factory=dict)]  # by role
    privacy: Privacy | None = None  # the fenced classifier has no such guarantee
    permutation: PermutationRecord | None = None
    notes: Annotated[list[str], Field(default_factory=list)]  # what a reader must see beside the numbers
    config: Annotated[dict[str, dict[str, Any]], Field(default_factory=dict)]
    seed: NonNegative | None = None
    versions: Annotated[dict[str, str], Field(default_factory=dict)]
    inputs: Annotated[dict[str, str], Field(default_factory=dict)]  # file -> sha256
    seconds: NonNegativeFloat | None = None
    milliseconds_per_query: NonNegativeFloat | None = None  # asked one at a time, on the device of the evaluation
    run: str | None = later(None)  # names it by what differs from the YAML files
    made: Made | None = later(None)
    evaluation: str | None = None  # names the evaluation: the reports with and without Diffence have the same

    @model_validator(mode="after")
    def _says_the_same_twice(self) -> "Report":
        main = self.protocols[self.main]
        for name in ("interval", "accuracy", "label_agreement", "raw_answer_rate", "reconstructions_per_query"):
            if getattr(main, name) is not None and getattr(main, name) != getattr(self, name):
                raise ValueError(f"{name} is another than that of protocol {self.main}")
        if self.privacy is not None and (self.diffence or self.defense != "dpsgd"):
            raise ValueError("a privacy guarantee that is none: only DP-SGD without Diffence has one")
        return self

    @property
    def subject(self) -> Subject:
        return Subject(self.model, self.defense, original=self.original)

    @property
    def main(self) -> str:
        """The protocol that is shown first: held_out, or the only one."""
        return "held_out" if "held_out" in self.protocols else next(iter(self.protocols))

    @property
    def noising(self) -> str:
        return str(self.config.get("diffence", {}).get("noising", "unknown"))
