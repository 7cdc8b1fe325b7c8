"""A verdict: the attacks run on a protocol's samples, without the fence and with it, on the same resamples."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from common.attacks import suite
from common.attacks.interface import Attack, Fitting
from common.attacks.suite import Scored
from common.diffence import EVERYWHERE, Interval, Rule
from common.evaluation import choice
from common.evaluation.answers import Answered
from common.evaluation.protocols import Drawn, EvaluationConfig, Protocol
from common.evaluation.record import Best, Chosen, Difference, Reduction, Reductions
from common.evaluation.rows import Judged
from common.runtime import progress
from common.statistics.bootstrap import Bootstrap, interval95


@dataclass(frozen=True)
class Verdict:
    """Attack results under one protocol, with Diffence or without, where ``rule`` is ``None``.

    reconstructions_per_query:  of the diffusion model, where candidates are drawn until one is accepted
    not_run:                    attacks that could not run, and why
    choice:                     the attack that was chosen on the fitting role, with its AUC there; None where none was
    """

    rule: Rule | None
    test: Answered
    attacks: dict[str, Judged]
    accuracy: dict[str, float]
    reconstructions_per_query: float
    not_run: dict[str, str] = field(default_factory=dict)
    choice: tuple[str, float] | None = None

    @property
    def interval(self) -> Interval | None:
        """That of phi which the answers are to lie in, where they are to lie in one."""
        return self.rule if isinstance(self.rule, Interval) and self.rule != EVERYWHERE else None

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

    @property
    def chosen(self) -> Chosen | None:
        """The attack that was chosen where nothing is scored, as it fares in the final test."""
        if self.choice is None:
            return None
        name, auc_there = self.choice
        row = self.attacks[name].measured
        return Chosen(attack=name, auc=row.auc, auc_ci=row.auc_ci, auc_where_chosen=auc_there)

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
    """The verdicts of one protocol without and with Diffence, on the same resamples of the test role."""

    protocol: Protocol
    without: Verdict
    fenced: Verdict
    bootstrap: Bootstrap

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

    def chosen_difference(self) -> Difference | None:
        """Between the attack chosen with Diffence and the one chosen without."""
        without, fenced = self.without, self.fenced
        if without.choice is None or fenced.choice is None:
            return None
        ours, theirs = fenced.attacks[fenced.choice[0]], without.attacks[without.choice[0]]
        return difference(ours.measured.auc - theirs.measured.auc, ours.aucs - theirs.aucs)

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


@dataclass(frozen=True)
class Resamples:
    """Of the samples that attacks are judged on.

    test:    the test role
    merged:  fitting and test role together, which attacks that fit no more than a threshold are judged on where the
             protocol says so; else the test role
    """

    test: Bootstrap
    merged: Bootstrap

    @classmethod
    def draw(
        cls, protocol: Protocol, *, fitting: np.ndarray, test: np.ndarray, config: EvaluationConfig, seed: int
    ) -> "Resamples":
        """fitting, test: bool [n], who is a member in each role"""
        of_test = Bootstrap.draw(test, resamples=config.bootstrap, seed=seed)
        if not protocol.merged_sets:
            return cls(of_test, of_test)
        of_fitting = Bootstrap.draw(fitting, resamples=config.bootstrap, seed=seed, name=("fitting",))
        return cls(of_test, of_fitting.joined(of_test))

    def of(self, attack: Attack) -> Bootstrap:
        return self.test if attack.learns else self.merged


def judge(drawn: Drawn, config: EvaluationConfig, *, seed: int, without: Verdict | None = None) -> Pair:
    """Run the attacks against the raw answers and against those of the fence.

    without:  the verdict on the raw answers, where it is known
    """
    resamples = resamples_of(drawn, config, seed=seed)
    without = without or judge_side(drawn, None, resamples, config, seed=seed)
    return Pair(drawn.protocol, without, judge_side(drawn, drawn.rule, resamples, config, seed=seed), resamples.test)


def resamples_of(drawn: Drawn, config: EvaluationConfig, *, seed: int) -> Resamples:
    """Of the samples that a protocol judges on; the same with the fence and without."""
    protocol = drawn.protocol
    fitting, test = (drawn.roles[role].member for role in (protocol.fitting, protocol.test))
    return Resamples.draw(protocol, fitting=fitting, test=test, config=config, seed=seed)


def judge_side(
    drawn: Drawn, rule: Rule | None, resamples: Resamples, config: EvaluationConfig, *, seed: int
) -> Verdict:
    """Run the attacks against the answers of the fence with this rule, or against the raw ones where there is none."""
    protocol, roles = drawn.protocol, drawn.roles
    answered = {role: roles[role].answered(rule) for role in dict.fromkeys(_judged_roles(protocol))}
    found = judge_answers(protocol, answered, resamples, config, seed=seed)
    if rule is None:
        return found
    return replace(found, rule=rule, reconstructions_per_query=roles[protocol.test].reconstructions_per_query(rule))


def _judged_roles(protocol: Protocol) -> tuple[str, ...]:
    return (protocol.fitting, protocol.test, protocol.accuracy_on)


def judge_answers(
    protocol: Protocol, answered: Mapping[str, Answered], resamples: Resamples, config: EvaluationConfig, *, seed: int
) -> Verdict:
    """Run the attacks against answers, of whatever gave them: those of each role that the protocol judges by."""
    fit_on, test, accuracy_on = (answered[role] for role in _judged_roles(protocol))
    fitting = Fitting(
        config,
        seed,
        hindsight_threshold=protocol.hindsight_threshold,
        choose_on=test.observations if protocol.epoch_by_test_auc else None,
    )

    def judged(attack: Attack) -> Judged:
        scored, asked = result.scored[attack.name], attack.needs.asked(test.observations)
        said = ~np.isnan(scored.scores)
        if said.all():
            return Judged(protocol, scored, resamples.of(attack), asked)
        some = Scored(scored.scores[said], scored.member[said])
        return Judged(protocol, some, resamples.of(attack).among(said, scored.member), asked, said)

    times = 2 + (choice.FOLDS if protocol.chooses else 0)  # each attack is run, resampled, and tried in each fold
    with progress.outer(total=times * len(protocol.attacks), unit="attack", desc=f"attacks, {protocol.name}") as bar:
        result = suite.run(
            protocol.attacks,
            fit_on.observations,
            test.observations,
            fitting,
            merged_sets=protocol.merged_sets,
            tick=bar.update,
        )
        ran, rows = [attack for attack in protocol.attacks if attack.name in result.scored], {}
        bar.update((times - 1) * (len(protocol.attacks) - len(ran)))
        for attack in ran:
            rows[attack.name] = judged(attack)
            _ = rows[attack.name].measured  # the resamples, which take their time, while the bar is there
            bar.update()
        chosen = choice.best(ran, fit_on.observations, fitting, tick=bar.update) if protocol.chooses else None
    return Verdict(
        rule=None,
        test=test,
        attacks=rows,
        accuracy=accuracy_on.accuracy,
        reconstructions_per_query=0.0,
        not_run=protocol.left_out | result.not_run,
        choice=chosen,
    )
