from dataclasses import replace

import numpy as np

from common.attacks import ATTACKS
from common.attacks.interface import Attack, Fitting, Needs
from common.evaluation import choice
from tests.common.attacks.full import observations

GIVEN = observations(60, seed=0, separation=2.0)
FITTING = Fitting(None, 3)


def by_heart(observations, fitting):
    """Knows the members that it was fitted on by their answers, and nothing of others."""
    return {
        answer.tobytes(): member for answer, member in zip(observations.logits, observations.membership, strict=True)
    }


CHEAT = Attack(
    "by_heart",
    "this test",
    Needs(),
    by_heart,
    lambda known, given: np.array([known.get(answer.tobytes(), 0.0) for answer in given.logits], dtype=float),
)


def test_what_an_attack_was_fitted_on_does_not_speak_for_it():
    """Scored on its own fitting samples this one would be perfect."""
    known = by_heart(GIVEN, FITTING)
    assert np.array_equal(CHEAT.scores(known, GIVEN), GIVEN.membership)
    found = choice.best([CHEAT, ATTACKS["loss"]], GIVEN, FITTING)
    assert found is not None and found[0] == "loss" and found[1] > 0.7
    assert choice.best([CHEAT], GIVEN, FITTING) == ("by_heart", 0.5)


def test_the_strongest_is_chosen_and_the_seed_alone_decides_the_folds():
    attacks = [ATTACKS[name] for name in ("correctness", "confidence", "entropy")]
    assert choice.best(attacks, GIVEN, FITTING) == choice.best(attacks, GIVEN, FITTING)
    weak = replace(ATTACKS["confidence"], name="weak", scores=lambda fitted, given: np.zeros(len(given)))
    found = choice.best([weak, *attacks], GIVEN, FITTING)
    assert found is not None and found[0] != "weak"


def test_with_too_few_to_hold_any_out_nothing_is_chosen():
    few = GIVEN[np.concatenate([np.flatnonzero(GIVEN.membership)[:2], np.flatnonzero(~GIVEN.membership)])]
    assert choice.best([ATTACKS["loss"]], few, FITTING) is None
