"""A verdict: the attacks run on a protocol's samples, without the fence and with it, on the same resamples."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from common.attacks import suite
from common.attacks.interface import Attack, Fitting
from common.attacks.suite import Scored
from common.diffence import Interval
from common.evaluation.answers import Answered
from common.evaluation.protocols import Drawn, EvaluationConfig, Protocol
from common.evaluation.record import AttackRow, Best, Difference, Reduction, Reductions
from common.statistics import roc
from common.statistics.bootstrap import Bootstrap, interval95

FPRS = ("0.001", "0.01")
FNRS = ("0.001",)


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
    def measured(self) -> AttackRow:
        hindsight, strict = self.protocol.hindsight_threshold, self.protocol.strict_rates
        accuracy = roc.hindsight_accuracy if hindsight else _accuracy_of_fitted
        return AttackRow(
            auc=roc.auc(*self.scored),
            auc_ci=list(interval95(self.aucs)),
            balanced_accuracy=accuracy(*self.scored),
            tpr_at_fpr={fpr: roc.tpr_at_fpr(*self.scored, float(fpr), strict=strict) for fpr in FPRS},
            tnr_at_fnr={fnr: roc.tnr_at_fnr(*self.scored, float(fnr), strict=strict) for fnr in FNRS},
        )


def _accuracy_of_fitted(scores: np.ndarray, member: np.ndarray) -> float:
    return roc.balanced_accuracy(scores, member, 0.0)


@dataclass(frozen=True)
class Verdict:
    """Attack results under one protocol, with Diffence or without, where ``interval`` is ``None``.

    reconstructions_per_query:  of the diffusion model, where candidates are drawn until one is accepted
    not_run:                    attacks that could not run, and why
    """

    interval: Interval | None
    test: Answered
    attacks: dict[str, Judged]
    accuracy: dict[str, float]
    reconstructions_per_query: float
    not_run: dict[str, str] = field(default_factory=dict)

    @property
    def best_attack(self) -> str:
        """The one of greatest AUC."""
        return max(self.attacks, key=lambda name: self.attacks[name].measured.auc)

    @cached_property
    def best(self) -> Best:
        rows = {name: judged.measured for name, judged in self.attacks.items()}
        attack = self.best_attack
        return Best(
            auc=rows[attack].auc,
            auc_ci=list(interval95(self.greatest_aucs)),
            balanced_accuracy=max(row.balanced_accuracy or 0.0 for row in rows.values()),
            attack=attack,
            selection_bias=float(self.greatest_aucs.mean()) - rows[attack].auc,
        )

    @cached_property
    def greatest_aucs(self) -> np.ndarray:
        """float64 [B]: the greatest AUC over the attacks in every resample."""
        return np.max([judged.aucs for judged in self.attacks.values()], axis=0)

    @cached_property
    def greatest_accuracies(self) -> np.ndarray:
        """float64 [B]: the greatest balanced accuracy over the attacks in every resample."""
        return np.max([judged.accuracies for judged in self.attacks.values()], axis=0)


def difference(value: float, resampled: np.ndarray) -> Difference:
    """A difference, and its interval from the differences float64 [B] in shared resamples."""
    return Difference(value=value, interval=list(interval95(resampled)))


@dataclass(frozen=True)
class Pair:
    """The verdicts of one protocol without and with Diffence, on the same resamples."""

    protocol: Protocol
    without: Verdict
    fenced: Verdict

    def auc_difference(self, attack: str) -> Difference | None:
        """AUC with Diffence less AUC without, of one attack; None where it did not run without."""
        if attack not in self.without.attacks:
            return None
        without, fenced = self.without.attacks[attack], self.fenced.attacks[attack]
        return difference(fenced.measured.auc - without.measured.auc, fenced.aucs - without.aucs)

    def best_difference(self) -> Difference:
        """Between the greatest AUC of any attack with Diffence and without."""
        value = self.fenced.best.auc - self.without.best.auc
        return difference(value, self.fenced.greatest_aucs - self.without.greatest_aucs)

    @property
    def reduction(self) -> Reductions:
        """By how much Diffence lowers the greatest AUC and balanced accuracy, as a share of what they are without."""
        without, fenced = self.without, self.fenced
        return Reductions(
            auc=_reduction(without.best.auc, fenced.best.auc, without.greatest_aucs, fenced.greatest_aucs),
            balanced_accuracy=_reduction(
                without.best.balanced_accuracy,
                fenced.best.balanced_accuracy,
                without.greatest_accuracies,
                fenced.greatest_accuracies,
            ),
        )


def _reduction(without: float, fenced: float, all_without: np.ndarray, all_fenced: np.ndarray) -> Reduction:
    spread = float((1 - all_fenced / all_without).std(ddof=1))
    return Reduction(relative=1 - fenced / without, standard_error=spread)


def judge(drawn: Drawn, config: EvaluationConfig, *, seed: int) -> Pair:
    """Run the attacks against the raw answers and against those of the fence."""
    protocol = drawn.protocol
    test = Bootstrap.draw(drawn.roles[protocol.test].member, resamples=config.bootstrap, seed=seed)
    merged = test
    if protocol.merged_sets:
        fitting = drawn.roles[protocol.fitting].member
        merged = Bootstrap.draw(fitting, resamples=config.bootstrap, seed=seed, name=("fitting",)).joined(test)

    def bootstrap_of(attack: Attack) -> Bootstrap:
        return test if attack.learns else merged

    without, fenced = (_judge(drawn, interval, config, bootstrap_of, seed=seed) for interval in (None, drawn.interval))
    return Pair(protocol, without, fenced)


def _judge(
    drawn: Drawn,
    interval: Interval | None,
    config: EvaluationConfig,
    bootstrap_of: Callable[[Attack], Bootstrap],
    *,
    seed: int,
) -> Verdict:
    protocol, roles = drawn.protocol, drawn.roles
    test = roles[protocol.test].answered(interval)
    result = suite.run(
        protocol.attacks,
        roles[protocol.fitting].answered(interval).observations,
        test.observations,
        Fitting(
            config,
            seed,
            hindsight_threshold=protocol.hindsight_threshold,
            choose_on=test.observations if protocol.epoch_by_test_auc else None,
        ),
        merged_sets=protocol.merged_sets,
    )
    return Verdict(
        interval=interval,
        test=test,
        attacks={
            attack.name: Judged(protocol, result.scored[attack.name], bootstrap_of(attack))
            for attack in protocol.attacks
            if attack.name in result.scored
        },
        accuracy=roles[protocol.accuracy_on].answered(interval).accuracy,
        reconstructions_per_query=(
            0.0 if interval is None else roles[protocol.test].reconstructions_per_query(interval)
        ),
        not_run=result.not_run,
    )
