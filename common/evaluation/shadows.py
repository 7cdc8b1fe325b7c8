"""What shadow models tell: the target's samples by attacks of its own kind, and every model in turn as the target.

The attacks see phi of the true label alone, from the target and from shadow models behind the same fence, each with a
rule tuned on its own known samples. A model that takes the target's place leaves with its twin, whose members are the
rest: so nothing is learnt from how many of the others were trained on a sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from common.attacks import statistics
from common.attacks.interface import Attack, CannotRun, Fitting
from common.attacks.lira import COPIES, over_models
from common.attacks.observations import Observations, QueryKind
from common.data.shadows import TARGET
from common.diffence import Candidates, Rule, tune
from common.diffence.measures import Fence
from common.evaluation import near_copies
from common.evaluation.answers import Asked
from common.runtime import rng
from common.statistics import roc


@dataclass(frozen=True)
class Models:
    """What the models of a store say of the true label of n samples, under one fence or none.

    numbers:  of the models, the target's first; shadow models in pairs of twins
    phi:      float64 [models, n, Q], of the true label in their answers
    member:   bool [models, n]
    queries:  what each of the Q queries is
    """

    numbers: Sequence[int]
    phi: np.ndarray
    member: np.ndarray
    queries: tuple[QueryKind, ...]

    def of(self, rows: np.ndarray) -> "Models":
        """The same models on some of the samples."""
        return Models(self.numbers, self.phi[:, rows], self.member[:, rows], self.queries)

    def observed(self, place: int) -> Observations:
        """What an attacker has who is after the model in one place: two classes whose difference is phi."""
        number = self.numbers[place]
        twins = {number} if number == TARGET else {number, number + 1 if number % 2 else number - 1}
        others = np.array([each not in twins and each != TARGET for each in self.numbers])
        phi = self.phi[place]
        return Observations(
            np.stack([phi, np.zeros_like(phi)], axis=-1),
            np.zeros(len(phi), dtype=np.int64),
            self.member[place],
            self.queries,
            shadow_phi=self.phi[others],
            in_shadow=self.member[others],
        )


def phi_of_true_label(
    own: Candidates,
    near: Candidates,
    rule: Rule | None,
    fence: Fence | None,
    labels: np.ndarray,
    keys: Sequence[bytes],
    *,
    seed: rng.Part,
) -> np.ndarray:
    """One model's phi of the true label: float64 [n, 1 + COPIES], of an image and its near-copies.

    Without a fence (no rule) a near-copy is answered like the image.

    own:   the images' own candidates, of at least as many as the fence's
    near:  what near-copies are answered from
    keys:  name the samples, so that all models are asked the same copies
    """
    if rule is None or fence is None:
        raw = statistics.phi_of(own.logits[:, -1].double().numpy(), labels)
        return np.repeat(raw[:, None], 1 + COPIES, axis=1)
    count, work = fence.measures.num_candidates, fence.measures.work
    images = Asked.of(first(own, count), rule, work=work).fenced[:, None]
    copies = near_copies.simulated(near, rule, keys, count=COPIES, group=count, seed=seed, work=work).fenced
    whole = torch.cat([images, copies], dim=1).double().numpy()
    return statistics.phi_of(whole, np.broadcast_to(labels[:, None], whole.shape[:2]))


def first(candidates: Candidates, count: int) -> Candidates:
    """What a fence of ``count`` candidates has of more."""
    logits = torch.cat([candidates.logits[:, :count], candidates.logits[:, -1:]], dim=1)
    return Candidates(logits, candidates.drawn.clamp(max=count), candidates.rank)


def rule_of(own: Candidates, member: np.ndarray, fence: Fence) -> Rule:
    """The rule that one model's defender tunes on the samples that he knows."""
    known = first(own, fence.measures.num_candidates)
    of_members = torch.from_numpy(member)
    return tune(known[of_members], known[~of_members], fence)


@dataclass(frozen=True)
class Scores:
    """One attack's scores of n samples, each model in its turn being the target: float64 [models, n]."""

    scores: np.ndarray
    member: np.ndarray

    @property
    def aucs(self) -> np.ndarray:
        """Of each model that has members and others among the samples."""
        both = [row for row in zip(self.scores, self.member, strict=True) if 0 < row[1].sum() < len(row[1])]
        return np.array([roc.auc(*row) for row in both])

    @property
    def of_target(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores and membership float64 and bool [n]."""
        return self.scores[0], self.member[0]

    @property
    def together(self) -> tuple[np.ndarray, np.ndarray]:
        """All models' scores and memberships, one after the other."""
        return self.scores.ravel(), self.member.ravel()


def each_in_turn(models: Models, attack: Attack, fit_on: np.ndarray, rows: np.ndarray, fitting: Fitting) -> Scores:
    """An attack fitted on some samples and scored on others, with each of the models as the target.

    Raises CannotRun with the reason.
    """
    if attack.needs.missing(models.observed(0)):
        raise CannotRun(str(attack.needs.missing(models.observed(0))))
    fitting_part, judged = models.of(fit_on), models.of(rows)
    found = []
    for place in range(len(models.numbers)):
        fitted = attack.fit(fitting_part.observed(place), fitting)
        found.append(attack.scores(fitted, judged.observed(place)))
    return Scores(np.stack(found), judged.member)


def separations(models: Models) -> np.ndarray:
    """How far apart members' and others' answers lie for each sample, in standard deviations: float64 [n].

    Over all models but the target, of the mean phi of a sample's queries.
    """
    shadows = np.array(models.numbers) != TARGET
    phi, seen = models.phi[shadows].mean(axis=2, keepdims=True), models.member[shadows]
    inside, outside = (over_models(phi, chosen, variance="each") for chosen in (seen, ~seen))
    return ((inside.centre - outside.centre) / np.sqrt((inside.sd**2 + outside.sd**2) / 2))[:, 0]
