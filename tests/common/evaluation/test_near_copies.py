"""Near-copies that are simulated from a pool are answered as real ones are."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from common.diffence import Candidates, Diffence, Interval, answer, phi
from common.diffence.rule import reconstructions_needed
from common.evaluation.near_copies import simulated
from common.evaluation.queries import changed
from tests.common.evaluation.population import PIXELS, Shifting

INTERVAL = Interval(0.3, 1.1)
GROUP, KEYS = 5, [bytes([place]) for place in range(20)]


def classifier(x):
    return 6 * x.flatten(1)[:, :3] - 2


def fence(num_candidates, *, seed):
    return Diffence(
        classifier, Shifting(), rule=INTERVAL, num_candidates=num_candidates, step=1, key=seed, batch_size=64
    )


def test_simulated_copies_are_answered_as_real_ones():
    """By the distribution of phi and of the work over twenty images of thirty copies each."""
    images = PIXELS[:20]
    pool = fence(200, seed=1).candidates(images.float() / 255)
    found = simulated(pool, INTERVAL, KEYS, count=30, group=GROUP, seed=0, work="lazy")
    logits, work = found.fenced, found.work
    real_phi, real_work = [], []
    for number in range(1, 16):  # the first pixels are those that the classifier looks at
        x = changed(images, "near_copy", number, seed=0).float() / 255 if number > 2 else images.float() / 255
        candidates = fence(GROUP, seed=number).draw(x, until=None)
        real_phi.append(phi(answer(candidates, INTERVAL).logits))
        real_work.append(reconstructions_needed(candidates, INTERVAL))
    found, real = phi(logits).T, torch.stack(real_phi)
    assert ks_2samp(found.flatten(), real.flatten()).pvalue > 0.01
    assert float(work.double().mean()) == pytest.approx(float(torch.stack(real_work).double().mean()), abs=0.15)
    # image by image: means within four standard errors
    error = real.std(dim=0) / 15**0.5 + found.std(dim=0) / 30**0.5
    assert ((found.mean(dim=0) - real.mean(dim=0)).abs() <= 4 * error + 1e-6).all()


def hand_made():
    """One sample, four candidates of two classes and the raw answer: phi is the first logit, as the second is 0."""
    logits = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 9.0], [8.0, 0.0]]])
    return Candidates(logits, torch.tensor([4]))


def test_an_answer_is_the_first_accepted_of_its_group_or_the_nearest_to_the_middle():
    pool = hand_made()
    found = simulated(pool, Interval(1.5, 2.5), [b"x"], count=400, group=2, seed=0, work="lazy")
    logits, work = found.fenced, found.work
    answers, counts = np.unique(logits[0, :, 0], return_counts=True)
    # 2 is accepted where it is drawn; of a group without it the one nearest to 2, and 1 and 3 are equally near
    assert set(answers) <= {1.0, 2.0, 3.0, 8.0}
    assert counts[answers == 2.0] / 400 == pytest.approx(0.5, abs=0.08)  # 2 of 4 in each group
    first = (work == 1).float().mean()
    assert first == pytest.approx(0.25, abs=0.07)  # it stands first in a quarter of the groups
    assert work.max() == 2


def test_groups_are_drawn_without_replacement_and_the_raw_answer_is_the_last_resort():
    pool = hand_made()
    found = simulated(pool, Interval(7.5, 8.5), [b"x"], count=50, group=4, seed=0, work="lazy")
    logits, work = found.fenced, found.work
    assert (logits[0, :, 0] == 8.0).all() and (work == 4).all()
    whole = simulated(pool, Interval(1.9, 2.1), [b"x"], count=50, group=4, seed=0, work="constant")
    assert (whole.fenced[0, :, 0] == 2.0).all()  # a whole pool always has it
    assert (whole.work == 4).all()  # whatever was needed


def test_a_samples_copies_do_not_depend_on_its_company():
    pool = fence(12, seed=1).candidates(PIXELS[:20].float() / 255)
    together = simulated(pool, INTERVAL, KEYS, count=7, group=GROUP, seed=0, work="lazy")
    alone = simulated(pool[3:4], INTERVAL, KEYS[3:4], count=7, group=GROUP, seed=0, work="lazy")
    assert torch.equal(together.fenced[3:4], alone.fenced)
