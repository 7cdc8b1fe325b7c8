"""What the attacks read off observations, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from common.attacks import boundary, copies, edges, label_only, statistics, work
from common.attacks.interface import Needs
from common.attacks.observations import Observations
from common.runtime import rng
from tests.common.attacks.full import observations

LOGITS = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 3.0]])


def test_statistics_are_those_of_the_probabilities():
    logits = np.random.default_rng(0).normal(size=(5, 4, 3))
    labels = np.random.default_rng(1).integers(0, 3, (5, 4))
    p = softmax(logits, axis=-1)
    top, of_label = p.max(axis=-1), np.take_along_axis(p, labels[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(statistics.phi(logits), np.log(top / (1 - top)))
    np.testing.assert_allclose(statistics.phi_of(logits, labels), np.log(of_label / (1 - of_label)))
    np.testing.assert_allclose(statistics.entropy(logits), -(p * np.log(p)).sum(axis=-1))
    assert np.isfinite(statistics.phi(np.array([[1000.0, 0.0, 0.0]]))).all()


def test_summaries_are_of_the_queries_that_are_asked_alone():
    needs = Needs(queries={"image": 1, "near_copy": 3})
    given = observations(6, seed=0)
    phi = statistics.phi(given.answers[:, :4])
    found = copies.summaries(given, needs)
    assert found.shape == (6, 8)
    np.testing.assert_allclose(found[:, 0], phi.mean(axis=1))
    np.testing.assert_allclose(found[:, 3], phi.std(axis=1))
    np.testing.assert_allclose(found[:, 6:], np.stack([(phi < 0).mean(axis=1), (phi > 1).mean(axis=1)], axis=1))
    others = given.answers.copy()
    others[:, 4:] = 0
    assert np.array_equal(copies.summaries(replace(given, answers=others), needs), found)


def test_an_answer_lies_below_inside_or_above_the_interval():
    logits = np.array([[0.0, 0.5], [2.0, 0.0], [5.0, 0.0]])
    given = replace(Observations.of_images(logits, np.zeros(3, dtype=int), None), interval=(1.0, 4.0))
    expected = [[1, 0, 0, 0, 0.5, 0], [0, 0, 1, 2, 0, 0], [0, 1, 0, 0, 0, 1]]
    assert edges.edges(given) == pytest.approx(np.array(expected))
    assert not edges.edges(replace(given, interval=None)).any()


def test_the_work_is_summed_up_over_sixteen_queries():
    given = observations(4, seed=0)
    found = work.work(given)
    asked = given.work[:, :16]
    np.testing.assert_allclose(found[:, 0], asked.mean(axis=1))
    np.testing.assert_allclose(found[:, 4], asked.min(axis=1))


def test_robustness_is_told_apart_for_right_and_wrong_labels():
    given = replace(
        Observations.of_images(LOGITS, np.array([0, 0]), None),
        labels_kept=np.array([[True, False, True], [True, True, True]]),
        label_queries=("flip", "shift", "shift"),
    )
    found = label_only.robustness({"flip": 1, "shift": 2}, given)
    assert found.tolist() == [[1, 1, 0.5, 0, 0], [0, 0, 0, 1, 1]]


def test_an_image_that_is_answered_wrongly_lies_on_the_boundary():
    given = replace(
        Observations.of_images(LOGITS[[0, 1, 0]], np.zeros(3, dtype=int), None), boundary=np.array([1.5, 2.0, np.nan])
    )
    assert boundary.distances(given)[:2].tolist() == [1.5, 0.0] and np.isnan(boundary.distances(given)[2])


def test_the_places_of_an_attacks_queries_are_the_first_of_each_kind():
    given = observations(3, seed=0)
    places = Needs(queries={"image": 1, "shift": 2}).places(given)
    assert [given.queries[place] for place in places] == ["image", "shift", "shift"]
    assert places[1] == given.queries.index("shift")


def test_needs_together_are_the_more_of_each():
    one = Needs(queries={"image": 1, "near_copy": 3}, labels={"flip": 1})
    other = Needs(queries={"image": 1, "near_copy": 15, "shift": 4}, boundary=True)
    both = one.together(other)
    assert both == Needs({"image": 1, "near_copy": 15, "shift": 4}, {"flip": 1}, boundary=True)
    assert both.asked(replace(observations(4, seed=0), boundary_cost=7)) == 1 + 15 + 4 + 1 + 7


def test_chosen_and_joined_samples_keep_all_that_was_observed():
    given = observations(10, seed=0)
    order = rng.numpy_generator(0, "order").permutation(10)
    whole = given[order[:4]].joined(given[order[4:]])
    for name in ("answers", "labels", "member", "work", "interval", "labels_kept", "boundary"):
        assert np.array_equal(getattr(whole, name), getattr(given, name)[order]), name
    assert (whole.queries, whole.boundary_cost) == (given.queries, 1000)
