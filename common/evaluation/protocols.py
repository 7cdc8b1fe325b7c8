"""Ways to judge: ``HELD_OUT``, which this project trusts; ``STEADY``, the same for another fence; and ``PUBLISHED``.

A protocol says which fence is judged, which samples tune it, fit the attacks and are scored, and how the scores become
numbers. The published one computes what the paper's code computes, and each of its departures from good practice is a
switch of its own, so that what it is worth can be measured (see departures.py). All search intervals by
``tune_interval``, on samples of their own, so the published protocol keeps to our search in this: an interval that
leaves no known member among the non-members, whose distance is not a number, is never taken; the grid has 21 points,
where rounding gives the published code 21 or 22; phi and the scores are computed from logits in float64 and do not
saturate; scenario 3 accepts the first candidate that keeps the label.

Two slips of the published code are repaired: its NN attack calls members 0, so that TPR and TNR change places; and an
answer with p_y = 0, whose loss is infinite, gets the score of the most certain member, where here it gets the least.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Annotated

from pydantic import Field

from common.attacks import ATTACKS, SHADOW_ATTACKS
from common.attacks.interface import Attack, Needs
from common.attacks.lira import LiraConfig
from common.attacks.nn import NNAttackConfig
from common.attacks.rmia import RmiaConfig
from common.data.partition import Role
from common.diffence import Rule, tune
from common.diffence.measures import MOST_CANDIDATES, Fence
from common.evaluation.answers import FencedPopulation, RoleCandidates
from common.evaluation.asking import ask
from common.evaluation.boundary import BoundaryConfig
from common.runtime.config import Positive, Strict
from common.runtime.modes import FenceName, ProtocolName, ShadowDiffusion


class NearCopiesConfig(Strict):
    candidates: Annotated[int, Field(ge=2, le=MOST_CANDIDATES)]  # M, the pool of each sample; at least N is used


class ShadowsConfig(Strict):
    candidates: Annotated[int, Field(ge=2, le=MOST_CANDIDATES)]  # as for near_copies, of each sample of the pool
    diffusion: ShadowDiffusion  # that fences a shadow model
    lira: LiraConfig
    rmia: RmiaConfig


class EvaluationConfig(Strict):
    """configs/evaluation.yaml"""

    num_sample: Annotated[Positive, Field(ge=2)]  # at most so many members, and as many non-members, in each role
    bootstrap: Annotated[Positive, Field(ge=100)]  # resamples behind each 95 % interval
    nn_attack: NNAttackConfig
    near_copies: NearCopiesConfig
    boundary: BoundaryConfig
    shadows: Annotated[ShadowsConfig, Field(exclude=True)]  # nothing without shadow models depends on it


@dataclass(frozen=True)
class Protocol:
    """Which role does what, and what is done as the published code does it.

    fence:                what stands before the classifier
    tuning:               the role whose samples its rule is tuned on
    fitting:              … the attacks are fitted on
    test:                 … the attacks are judged on
    accuracy_on:          … train and test accuracy are reported on
    chosen:               the attacks by name; None takes those that are fast
    published_attacks:    only the attacks that the published evaluation has, whatever is chosen
    with_correctness:     and correctness, which it leaves out and which no fence that keeps labels lowers
    merged_sets:          threshold attacks are judged on fitting and test role together
    hindsight_threshold:  the threshold is the best for the samples that accuracy is measured on
    published_search:     an interval is searched among reconstructions alone, without the raw candidate
    epoch_by_test_auc:    an attack that is trained keeps the epoch that is the best for the samples it is judged on
    strict_rates:         TPR at an FPR below the limit, not at most the limit; TNR in the same way
    chooses:              the best attack is chosen on the fitting role too, where no score is judged
    """

    name: ProtocolName
    fence: FenceName = "paper"
    tuning: str = "tuning"
    fitting: str = "attack_fit"
    test: str = "final_test"
    accuracy_on: str = "final_test"
    chosen: tuple[str, ...] | None = None
    published_attacks: bool = False
    with_correctness: bool = False
    merged_sets: bool = False
    hindsight_threshold: bool = False
    published_search: bool = False
    epoch_by_test_auc: bool = False
    strict_rates: bool = False
    chooses: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role once, that of the interval first."""
        return tuple(dict.fromkeys((self.tuning, self.fitting, self.test, self.accuracy_on)))

    @property
    def attacks(self) -> list[Attack]:
        if not self.published_attacks:
            chosen = [attack for name, attack in ATTACKS.items() if self._is_chosen(name)]
            return chosen + [attack for name, attack in SHADOW_ATTACKS.items() if name in (self.chosen or ())]
        beside = ("correctness",) if self.with_correctness else ()
        return [attack for name, attack in ATTACKS.items() if attack.published or name in beside]

    @property
    def left_out(self) -> dict[str, str]:
        """The attacks that only those get who ask for them, by name, with how to ask."""
        if self.published_attacks:
            return {}
        slow = (name for name, attack in ATTACKS.items() if not attack.fast and not self._is_chosen(name))
        return {name: f"slow, so only with `--attacks all` or `--attacks {name}`" for name in slow}

    @property
    def needs(self) -> Needs:
        """What all its attacks need together."""
        return reduce(Needs.together, (attack.needs for attack in self.attacks))

    def sees_as(self, other: "Protocol") -> bool:
        """Whether both look at the same samples with the same attacks, so that they see the same without a fence."""
        return replace(self, name=other.name, fence=other.fence) == other

    def _is_chosen(self, name: str) -> bool:
        return ATTACKS[name].fast if self.chosen is None else name in self.chosen


HELD_OUT = Protocol("held_out", chooses=True)
STEADY = replace(HELD_OUT, name="steady", fence="steady")
PUBLISHED = Protocol(
    "published",
    tuning="known",
    fitting="known",
    test="target",
    accuracy_on="utility",
    published_attacks=True,
    merged_sets=True,
    hindsight_threshold=True,
    published_search=True,
    epoch_by_test_auc=True,
    strict_rates=True,
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (HELD_OUT, STEADY, PUBLISHED)}


@dataclass(frozen=True)
class Drawn:
    """The candidates of a protocol's roles, and the rule tuned on one of them."""

    protocol: Protocol
    roles: Mapping[str, RoleCandidates]
    rule: Rule


def draw(
    fenced: FencedPopulation,
    protocol: Protocol,
    config: EvaluationConfig,
    *,
    fence: Fence,
    desc: str,
    before: Sequence[Drawn] = (),
    tick: Callable[[int], object] = lambda queries: None,
) -> Drawn:
    """All candidates of the tuning role, and of the other roles as many as its rule asks for.

    fence:   that of the population
    before:  what was drawn under other protocols; what depends on the classifier alone is taken from there
    tick:    called after each step with the number of its queries, in all ``queries``

    Every process must ask for the same ones in the same order.
    """
    roles = _samples(fenced, config)
    first, *others = protocol.roles
    tuning = fenced.draw(roles[first], until=None, desc=f"{desc}, {first}")
    tick(len(roles[first]))
    rule = tuned(tuning, fence, published_search=protocol.published_search)
    drawn = {first: tuning}
    for role in others:
        drawn[role] = fenced.draw(roles[role], until=rule, desc=f"{desc}, {role}")
        tick(len(roles[role]))
    if not protocol.needs.only_images:
        for role in dict.fromkeys((protocol.fitting, protocol.test)):
            alike = [each for each in before if protocol.sees_as(each.protocol)]
            keep = [each.roles[role].further for each in alike if each.rule.keeps_labels and rule.keeps_labels]
            known = keep[0] if keep else None
            needs = protocol.needs if known is None else protocol.needs.of_answers
            further = ask(fenced, roles[role], rule, needs, config.boundary, desc=f"{desc}, {role}")
            drawn[role] = replace(drawn[role], further=further.with_labels_of(known or further))
            tick(len(roles[role]) * protocol.needs.beside_images)
    return Drawn(protocol, drawn, rule)


def queries(fenced: FencedPopulation, protocol: Protocol, config: EvaluationConfig) -> int:
    """How many ``draw`` asks: images, and what is asked beside them. What depends on labels alone counts alike."""
    roles = _samples(fenced, config)
    asked = dict.fromkeys((protocol.fitting, protocol.test))
    beside = sum(len(roles[role]) for role in asked) * protocol.needs.beside_images
    return sum(len(roles[role]) for role in protocol.roles) + beside


def _samples(fenced: FencedPopulation, config: EvaluationConfig) -> dict[str, Role]:
    partition = fenced.population.partition
    return partition.roles(config.num_sample) | partition.published_roles(config.num_sample)


def tuned(tuning: RoleCandidates, fence: Fence, *, published_search: bool = False) -> Rule:
    """The rule for a role whose members and non-members the defender knows."""
    members = int(tuning.member.sum())  # they come first
    known = tuning.candidates[:members], tuning.candidates[members:]
    return tune(*known, fence, published_search=published_search)
