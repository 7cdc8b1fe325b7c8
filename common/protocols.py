"""Two ways to judge a fence by the same candidates: ``HELD_OUT``, which this project trusts, and ``PUBLISHED``.

A protocol says which samples tune the interval, fit the attacks and are scored, and how the scores become numbers. The
published one computes what the paper's code computes, and each of its departures from good practice is a switch of its
own, so that what it is worth can be measured (see departures.py). Both search the interval by
``diffence.tune_interval``, on other samples, so the published protocol keeps to our search where the published code
differs: an interval that leaves no known member among the non-members, whose distance is not a number, is never taken;
the grid has 21 points, where rounding gives the published code 21 or 22; phi and the scores are computed from logits
in float64 and do not saturate; scenario 3 accepts the first candidate that keeps the label.

Two slips of the published code are repaired: its NN attack calls members 0, so that TPR and TNR change places; and an
answer with p_y = 0, whose loss is infinite, gets the score of the most certain member, where here it gets the least.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from common import diffence
from common.attacks import metrics, suite
from common.attacks.answers import Answers
from common.attacks.metrics import Bootstrap
from common.attacks.suite import Scored
from common.bank import Bank, BankStore
from common.config import EvaluationConfig
from common.diffence import Interval

FPRS = ("0.001", "0.01")
FNRS = ("0.001",)


@dataclass(frozen=True)
class Protocol:
    """Which role does what, and what is done as the published code does it.

    tuning:               the role whose samples the interval is tuned on
    fitting:              … the attacks are fitted on
    test:                 … the attacks are judged on
    accuracy_on:          … train and test accuracy are reported on
    attacks:              their names
    merged_sets:          threshold attacks are judged on fitting and test role together
    hindsight_threshold:  the threshold is the best for the samples that accuracy is measured on
    epoch_by_test_auc:    the NN attack's epoch is the best for the samples that it is judged on
    strict_rates:         TPR at an FPR below the limit, not at most the limit; TNR in the same way
    """

    name: str
    tuning: str = "tuning"
    fitting: str = "attack_fit"
    test: str = "final_test"
    accuracy_on: str = "final_test"
    attacks: tuple[str, ...] = suite.ALL
    merged_sets: bool = False
    hindsight_threshold: bool = False
    epoch_by_test_auc: bool = False
    strict_rates: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role once, that of the interval first."""
        return tuple(dict.fromkeys((self.tuning, self.fitting, self.test, self.accuracy_on)))


HELD_OUT = Protocol("held_out")
PUBLISHED = Protocol(
    "published",
    tuning="known",
    fitting="known",
    test="target",
    accuracy_on="utility",
    attacks=suite.PUBLISHED,
    merged_sets=True,
    hindsight_threshold=True,
    epoch_by_test_auc=True,
    strict_rates=True,
)
PROTOCOLS = {protocol.name: protocol for protocol in (HELD_OUT, PUBLISHED)}


@dataclass(frozen=True)
class Drawn:
    """The candidates of a protocol's roles, and the interval tuned on one of them."""

    protocol: Protocol
    banks: dict[str, Bank]
    interval: Interval

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        return {role: {"members": len(b.members), "non_members": len(b.non_members)} for role, b in self.banks.items()}


def draw(store: BankStore, protocol: Protocol, *, num_sample: int, scenario: int, desc: str) -> Drawn:
    """All candidates of the tuning role, and of the other roles as many as its interval asks for."""
    partition = store.experiment.partition
    roles = partition.roles(num_sample) | partition.published_roles(num_sample)
    first, *others = protocol.roles
    tuning = store.bank(roles[first], until=None, desc=f"{desc}, {first}")
    interval = diffence.tune_interval(tuning.members, tuning.non_members, scenario=scenario)
    banks = {first: tuning}
    for role in others:
        banks[role] = store.bank(roles[role], until=interval, desc=f"{desc}, {role}")
    return Drawn(protocol, banks, interval)


@dataclass(frozen=True)
class Judged:
    """One attack's scores, with the resamples of the samples that it is judged on."""

    protocol: Protocol
    scored: Scored
    bootstrap: Bootstrap

    @cached_property
    def aucs(self) -> np.ndarray:
        """float64 [B], the AUC of every resample."""
        return self.bootstrap.aucs(*self.scored)

    @cached_property
    def accuracies(self) -> np.ndarray:
        """float64 [B], the balanced accuracy of every resample."""
        if self.protocol.hindsight_threshold:
            return self.bootstrap.hindsight_accuracies(*self.scored)
        return self.bootstrap.accuracies(*self.scored, threshold=0.0)

    @cached_property
    def measured(self) -> dict[str, Any]:
        """AUC with its interval, balanced accuracy, TPR at FPRs and TNR at FNRs, under the names of report.json."""
        hindsight, strict = self.protocol.hindsight_threshold, self.protocol.strict_rates
        accuracy = metrics.hindsight_accuracy if hindsight else _accuracy_of_fitted
        return {
            "auc": metrics.auc(*self.scored),
            "auc_ci": list(metrics.interval95(self.aucs)),
            "balanced_accuracy": accuracy(*self.scored),
            "tpr_at_fpr": {fpr: metrics.tpr_at_fpr(*self.scored, float(fpr), strict=strict) for fpr in FPRS},
            "tnr_at_fnr": {fnr: metrics.tnr_at_fnr(*self.scored, float(fnr), strict=strict) for fnr in FNRS},
        }


def _accuracy_of_fitted(scores: np.ndarray, member: np.ndarray) -> float:
    return metrics.balanced_accuracy(scores, member, 0.0)


@dataclass(frozen=True)
class Verdict:
    """Attack results under one protocol, with Diffence or without, where ``interval`` is ``None``."""

    interval: Interval | None
    test: Answers
    attacks: dict[str, Judged]
    accuracy: dict[str, float]  # "train": of members, which are training samples, "test": of non-members
    label_agreement: float
    raw_answer_rate: float
    reconstructions_per_query: float  # of the diffusion model, where candidates are drawn until one is accepted

    @cached_property
    def measurements(self) -> dict[str, dict[str, Any]]:
        return {name: judged.measured for name, judged in self.attacks.items()}

    @cached_property
    def best(self) -> dict[str, Any]:
        """The attack of greatest AUC: what a user has to fear, if the attacker happens to choose well.

        A maximum over tries on one test set is too great by chance. ``selection_bias`` estimates by how much: the mean
        over bootstrap maxima less the maximum; ``auc_ci`` is the middle of the bootstrap maxima, each over all attacks.
        """
        rows = self.measurements
        attack = max(rows, key=lambda name: rows[name]["auc"])
        return {
            "auc": rows[attack]["auc"],
            "auc_ci": list(metrics.interval95(self.greatest_aucs)),
            "balanced_accuracy": max(row["balanced_accuracy"] for row in rows.values()),
            "attack": attack,
            "selection_bias": float(self.greatest_aucs.mean()) - rows[attack]["auc"],
        }

    @cached_property
    def greatest_aucs(self) -> np.ndarray:
        """float64 [B]: the greatest AUC over the attacks in every resample."""
        return np.max([judged.aucs for judged in self.attacks.values()], axis=0)

    @cached_property
    def greatest_accuracies(self) -> np.ndarray:
        """float64 [B]: the greatest balanced accuracy over the attacks in every resample."""
        return np.max([judged.accuracies for judged in self.attacks.values()], axis=0)


@dataclass(frozen=True)
class Difference:
    """A value less another one, with the middle 95 % of the difference over resamples that both share."""

    value: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.interval[0]:+.3f}, {self.interval[1]:+.3f}]"


@dataclass(frozen=True)
class Pair:
    """The verdicts of one protocol without and with Diffence, on the same resamples."""

    protocol: Protocol
    without: Verdict
    fenced: Verdict

    def auc_difference(self, attack: str) -> Difference:
        """AUC with Diffence less AUC without, of one attack."""
        without, fenced = self.without.attacks[attack], self.fenced.attacks[attack]
        value = fenced.measured["auc"] - without.measured["auc"]
        return Difference(value, metrics.interval95(fenced.aucs - without.aucs))

    def best_difference(self) -> Difference:
        """Between the greatest AUC of any attack with Diffence and without."""
        value = self.fenced.best["auc"] - self.without.best["auc"]
        return Difference(value, metrics.interval95(self.fenced.greatest_aucs - self.without.greatest_aucs))

    @property
    def reduction(self) -> dict[str, dict[str, float]]:
        """By how much Diffence lowers the greatest AUC and balanced accuracy, as a share of what they are without."""
        resampled = {
            "auc": (self.without.greatest_aucs, self.fenced.greatest_aucs),
            "balanced_accuracy": (self.without.greatest_accuracies, self.fenced.greatest_accuracies),
        }
        return {
            name: {
                "relative": 1 - self.fenced.best[name] / self.without.best[name],
                "standard_error": float((1 - fenced / without).std(ddof=1)),
            }
            for name, (without, fenced) in resampled.items()
        }


def judge(drawn: Drawn, config: EvaluationConfig, *, seed: int) -> Pair:
    """Run the attacks against the raw answers and against those of the fence."""
    protocol = drawn.protocol
    member = {role: drawn.banks[role].answers(None).member for role in (protocol.fitting, protocol.test)}
    test = Bootstrap.draw(member[protocol.test], resamples=config.bootstrap, seed=seed)
    if protocol.merged_sets:
        fitting = Bootstrap.draw(member[protocol.fitting], resamples=config.bootstrap, seed=seed, name=("fitting",))
        merged = fitting.joined(test)
    else:
        merged = test

    def bootstrap_of(attack: str) -> Bootstrap:
        return test if attack == "nn" else merged

    without, fenced = (_judge(drawn, interval, config, bootstrap_of, seed=seed) for interval in (None, drawn.interval))
    return Pair(protocol, without, fenced)


def _judge(
    drawn: Drawn,
    interval: Interval | None,
    config: EvaluationConfig,
    bootstrap_of: Callable[[str], Bootstrap],
    *,
    seed: int,
) -> Verdict:
    protocol, banks = drawn.protocol, drawn.banks
    test = banks[protocol.test].answers(interval)
    scored = suite.run(
        banks[protocol.fitting].answers(interval),
        test,
        config.nn_attack,
        seed=seed,
        names=protocol.attacks,
        merged_sets=protocol.merged_sets,
        hindsight_threshold=protocol.hindsight_threshold,
        epoch_by_test_auc=protocol.epoch_by_test_auc,
    )
    raw_labels = banks[protocol.test].answers(None).logits.argmax(axis=1)
    return Verdict(
        interval=interval,
        test=test,
        attacks={name: Judged(protocol, each, bootstrap_of(name)) for name, each in scored.items()},
        accuracy=_accuracy(banks[protocol.accuracy_on].answers(interval)),
        label_agreement=float((test.logits.argmax(axis=1) == raw_labels).mean()),
        raw_answer_rate=1.0 if interval is None else banks[protocol.test].raw_answer_rate(interval),
        reconstructions_per_query=0.0 if interval is None else banks[protocol.test].reconstructions_per_query(interval),
    )


def _accuracy(answers: Answers) -> dict[str, float]:
    correct, member = answers.correct, answers.member
    return {"train": float(correct[member].mean()), "test": float(correct[~member].mean())}
