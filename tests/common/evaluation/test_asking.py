"""All attackers at once, against a small fence."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.attacks import ATTACKS
from common.attacks.interface import Needs
from common.diffence import EVERYWHERE, Averaging, Interval, answer
from common.evaluation.answers import Asked
from common.evaluation.asking import ask
from common.evaluation.judge import judge
from common.evaluation.protocols import HELD_OUT, draw, queries
from common.evaluation.queries import changed
from tests.common.diffence.slow import fence_config
from tests.common.evaluation.population import PARTITION, POPULATION, Shifting, fenced, role
from tests.common.evaluation.slow import CONFIG

INTERVAL = Interval(0.2, 1.5)
ROLE = role(slice(3, 13), slice(2, 9))
NEEDS = Needs(
    queries={"image": 1, "near_copy": 3, "noise_5": 2, "shift": 4}, labels={"flip": 1, "noise_40": 3, "shift_2": 8}
)
CHOSEN = tuple(name for name, attack in ATTACKS.items() if attack.fast)


@pytest.fixture
def population(tmp_path):
    return fenced(tmp_path / "bank")


def test_further_answers_are_those_of_the_fence_to_the_changed_images(population):
    further = ask(population, ROLE, INTERVAL, NEEDS, CONFIG.boundary, desc="")
    assert further.queries == ("near_copy",) * 3 + ("noise_5",) * 2 + ("shift",) * 4
    images, fence, asked = POPULATION.images(ROLE), population.bank.fence, Asked.cat(further.asked)
    for place, (kind, number) in enumerate([("noise_5", 0), ("noise_5", 1), *(("shift", n) for n in range(4))], 3):
        candidates = fence.candidates(changed(images, kind, number, seed=0).float() / 255)
        assert np.array_equal(asked.raw[:, place], candidates.logits[:, -1])
        assert np.array_equal(asked.fenced[:, place], answer(candidates, INTERVAL).logits)
    own = fence.labelling(images.float() / 255)
    for place in range(3):  # a near-copy is answered like the image where there is no fence
        assert np.array_equal(asked.raw[:, place], own)


def test_labels_are_those_of_the_classifier_alone(population):
    further = ask(population, ROLE, INTERVAL, NEEDS, CONFIG.boundary, desc="")
    assert further.label_queries == ("flip",) + ("noise_40",) * 3 + ("shift_2",) * 8
    images, classifier = POPULATION.images(ROLE), population.bank.fence.classifier
    own = classifier(images.float() / 255).argmax(dim=1)
    for place, (kind, number) in enumerate([("flip", 0), *(("noise_40", n) for n in range(3)), ("shift_2", 0)]):
        labels = classifier(changed(images, kind, number, seed=0).float() / 255).argmax(dim=1)
        assert np.array_equal(further.labels_kept[:, place], labels == own)


def test_labels_of_a_fence_that_may_change_them_are_those_that_it_answers(population):
    further = ask(population, ROLE, Averaging(), NEEDS, CONFIG.boundary, desc="")
    images, fence = POPULATION.images(ROLE), population.bank.fence

    def labels(asked):
        return answer(fence.candidates(asked.float() / 255), Averaging()).logits.argmax(dim=1)

    own = labels(images)
    for place, (kind, number) in enumerate([("flip", 0), ("noise_40", 0), ("noise_40", 1)]):
        assert np.array_equal(
            further.fenced_labels_kept[:, place], labels(changed(images, kind, number, seed=0)) == own
        )
    alone = ask(population, ROLE, INTERVAL, NEEDS, CONFIG.boundary, desc="")
    assert np.array_equal(alone.labels_kept, further.labels_kept) and alone.fenced_labels_kept is None
    assert not np.array_equal(further.fenced_labels_kept, further.labels_kept)


def test_a_classifier_alone_is_judged_by_its_own_labels_whatever_fence_it_is_beside(population):
    further = ask(population, ROLE, Averaging(), NEEDS, CONFIG.boundary, desc="")
    further = replace(further, boundary=(np.ones(len(further.labels_kept)), 9))
    drawn = replace(population.draw(ROLE, until=None, desc=""), further=further)
    alone, fenced = (drawn.answered(rule).observations for rule in (None, Averaging()))
    assert np.array_equal(alone.labels_kept, further.labels_kept) and alone.boundary is not None
    assert np.array_equal(fenced.labels_kept, further.fenced_labels_kept) and fenced.boundary is None


def test_what_was_asked_once_is_not_asked_again(population):
    first = ask(population, ROLE, INTERVAL, NEEDS, CONFIG.boundary, desc="")
    model = population.bank.fence.denoiser
    model.asked = population.near.fence.denoiser.asked = 0
    again = ask(population, ROLE, INTERVAL, NEEDS, CONFIG.boundary, desc="")
    assert model.asked == population.near.fence.denoiser.asked == 0
    for before, after in zip(Asked.cat(first.asked), Asked.cat(again.asked), strict=True):
        assert torch.equal(before, after)


class Unchanging(Shifting):
    """A diffusion model whose reconstruction is the image."""

    def purify(self, x, noise, *, step, noising):
        return x


def all_attackers(population):
    """The verdicts of a protocol with every attack that needs no library."""
    protocol = replace(HELD_OUT, chosen=CHOSEN)
    return judge(draw(population, protocol, CONFIG, fence=fence_config(scenario=3), desc=""), CONFIG, seed=3)


def test_a_fence_that_passes_everything_gives_exactly_the_raw_numbers_for_every_attack(population):
    for bank in (population.bank, population.near):
        bank.fence.denoiser = Unchanging()
    pair = all_attackers(population)
    assert pair.fenced.rule == EVERYWHERE and list(pair.fenced.attacks) == list(CHOSEN)
    for name in CHOSEN:
        without, fenced = pair.without.attacks[name], pair.fenced.attacks[name]
        assert np.array_equal(without.scored.scores, fenced.scored.scores), name
        assert without.measured == fenced.measured, name
    assert pair.without.chosen == pair.fenced.chosen
    assert (
        pair.without.attacks["work"].measured.auc == 0.5
    )  # without a fence there is no work, with this one always one


def test_a_fence_that_does_something_changes_what_attackers_of_answers_see_and_not_labels(population):
    pair = all_attackers(population)
    for name in CHOSEN:
        same = np.array_equal(pair.without.attacks[name].scored.scores, pair.fenced.attacks[name].scored.scores)
        assert same == (ATTACKS[name].sees == "label" or name in ("correctness", "edges")), name


def test_the_roles_of_other_protocols_are_asked_nothing_more(population):
    drawn = draw(population, replace(HELD_OUT, chosen=("loss",)), CONFIG, fence=fence_config(scenario=3), desc="")
    assert all(part.further is None for part in drawn.roles.values())
    assert not population.near.folder.exists()


def test_images_of_a_role_are_those_of_the_partition():
    images = POPULATION.images(ROLE)
    assert torch.equal(images[:10], POPULATION.train.images[PARTITION.members[3:13]])


@pytest.mark.parametrize("chosen", [("loss",), ("loss", "noisy_copies_5"), CHOSEN])
def test_the_total_of_a_protocol_is_known_before_it_is_asked(population, chosen):
    protocol, told = replace(HELD_OUT, chosen=chosen), []
    draw(population, protocol, CONFIG, fence=fence_config(scenario=3), desc="", tick=told.append)
    assert sum(told) == queries(population, protocol, CONFIG) and len(told) == (3 if chosen == ("loss",) else 5)
