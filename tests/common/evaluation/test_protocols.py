from dataclasses import replace

import numpy as np
import pytest
import torch

from common.attacks import ATTACKS
from common.diffence import EVERYWHERE, Candidates, tune_interval
from common.evaluation.protocols import HELD_OUT, PUBLISHED, draw, tuned
from tests.common.diffence.slow import fence_config
from tests.common.evaluation.slow import CONFIG, ONCE, PARTITION, Formula, candidates, published_sets, run


def test_each_role_is_drawn_once_the_tuning_one_in_full_and_in_one_order():
    drawn, _, population = run(ONCE)
    ends = drawn.rule
    assert population.asked == [("x, tuning", None), ("x, attack_fit", ends), ("x, final_test", ends)]
    drawn, _, population = run(PUBLISHED)
    ends = drawn.rule
    assert population.asked == [("x, known", None), ("x, target", ends), ("x, utility", ends)]
    leaked = replace(ONCE, tuning="final_test")
    assert [desc for desc, _ in run(leaked)[2].asked] == ["x, final_test", "x, attack_fit"]
    counts = {name: role.counts for name, role in drawn.roles.items()}
    assert counts == {role: {"members": 12, "non_members": 12} for role in ("known", "target", "utility")}


@pytest.mark.parametrize("protocol", [ONCE, PUBLISHED], ids=["held_out", "published"])
def test_roles_are_those_of_the_partition(protocol):
    drawn, _, _ = run(protocol)
    roles = PARTITION.roles(12) | PARTITION.published_roles(12)
    for name, role in drawn.roles.items():
        members, others = roles[name].members, roles[name].non_members
        logits = np.concatenate([candidates(members, gap=2.0), candidates(others + 1000, gap=1.0)])
        assert np.array_equal(role.candidates.logits, logits)
    assert tuple(drawn.roles) == protocol.roles


def test_the_interval_is_tuned_on_the_tuning_role_members_apart_from_non_members():
    drawn, _, _ = run(PUBLISHED)
    (members, others), _ = published_sets()
    logits = [candidates(members, gap=2.0), candidates(others + 1000, gap=1.0)]
    known = [Candidates(torch.from_numpy(part), torch.full((12,), 4)) for part in logits]
    as_published = tune_interval(*known, scenario="members_and_non_members", only_reconstructions=True)
    assert drawn.rule == as_published != tune_interval(*known, scenario="members_and_non_members")
    only = tune_interval(*known, scenario="members_only")
    assert tuned(drawn.roles["known"], fence_config(scenario=2)) == only
    assert tuned(drawn.roles["known"], fence_config(scenario=3)) == EVERYWHERE


def test_what_the_defender_knows_decides_the_interval_that_roles_are_drawn_for():
    population = Formula()
    drawn = draw(population, ONCE, CONFIG, fence=fence_config(scenario=3), desc="x")
    assert drawn.rule == EVERYWHERE and [until for _, until in population.asked] == [None, EVERYWHERE, EVERYWHERE]


def test_the_published_protocol_has_the_papers_attacks_and_ours_has_all():
    published = ["confidence", "loss", "entropy", "modified_entropy", "nn"]
    assert [attack.name for attack in PUBLISHED.attacks] == published
    assert [attack.name for attack in HELD_OUT.attacks] == [name for name in ATTACKS if name != "boundary"]
    everything = replace(HELD_OUT, chosen=tuple(ATTACKS))
    assert [attack.name for attack in everything.attacks] == list(ATTACKS)
    assert [attack.name for attack in replace(HELD_OUT, chosen=("work", "loss")).attacks] == ["loss", "work"]
    assert HELD_OUT.left_out.keys() == {"boundary"} and not everything.left_out and not PUBLISHED.left_out
