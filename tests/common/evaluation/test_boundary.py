"""The search for the boundary, where its library is installed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.attacks import ATTACKS
from common.evaluation import boundary
from common.evaluation.boundary import BoundaryConfig
from common.evaluation.judge import judge
from common.evaluation.protocols import HELD_OUT, draw
from common.runtime import rng
from tests.common.diffence.slow import fence_config
from tests.common.evaluation.population import fenced
from tests.common.evaluation.slow import CONFIG

installed = pytest.mark.skipif(not boundary.is_installed(), reason="needs requirements-boundary.txt")
CONFIG_HERE = BoundaryConfig(samples=2, steps=25)


def search(population, member):
    images = population.population.train.images[: len(member)]
    fence = population.bank.fence
    fence.classifier = lambda x: torch.stack([8 * x.flatten(1).mean(dim=1) - 4, torch.zeros(len(x))], dim=1)
    return images, boundary.search(fence.labelling, images, member, CONFIG_HERE, key=fence.key, desc="")


@installed
def test_the_distance_is_that_to_a_plane_for_the_first_of_each_kind(tmp_path):
    """The classifier asks whether the mean is above 1/2: the distance is |mean - 1/2| times the root of the pixels."""
    member = np.array([True, True, True, False, False, False])
    images, found = search(fenced(tmp_path / "bank"), member)
    assert found is not None
    distances, queries = found
    assert np.isfinite(distances).tolist() == [True, True, False, True, True, False]
    means = images.float().flatten(1).mean(dim=1).numpy() / 255
    exact = np.abs(means - 0.5) * 16**0.5
    there = np.isfinite(distances)
    assert (distances[there] >= exact[there] - 1e-3).all()
    assert distances[there] == pytest.approx(exact[there], abs=0.06)
    assert 100 < queries < 10_000


@installed
def test_a_search_is_repeatable_and_leaves_the_global_generator_alone(tmp_path):
    member = np.array([True, False])
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    first = search(fenced(tmp_path / "one"), member)[1]
    assert np.random.random() == expected
    again = search(fenced(tmp_path / "other"), member)[1]
    assert first is not None and again is not None
    assert np.array_equal(first[0], again[0], equal_nan=True) and first[1] == again[1]


@installed
def test_the_attack_is_judged_on_the_samples_that_were_searched(tmp_path):
    protocol = replace(HELD_OUT, chosen=("loss", "boundary"))
    pair = judge(
        draw(fenced(tmp_path / "bank"), protocol, CONFIG, fence=fence_config(scenario=3), desc=""), CONFIG, seed=3
    )
    for verdict in (pair.without, pair.fenced):
        judged = verdict.attacks["boundary"]
        assert len(judged.scored.scores) <= 4 < len(verdict.attacks["loss"].scored.scores)
        assert judged.queries > 10 and np.isfinite(judged.aucs).all()


@installed
def test_a_role_that_is_fitted_on_and_judged_is_searched_once(tmp_path, monkeypatch):
    searched, whole = [], boundary.search
    monkeypatch.setattr(boundary, "search", lambda *a, **k: searched.append(k["desc"]) or whole(*a, **k))
    once = replace(HELD_OUT, fitting=HELD_OUT.test, chosen=("boundary",))
    found = []
    for protocol in (once, replace(once, fitting="attack_fit")):
        drawn = draw(fenced(tmp_path / "bank"), protocol, CONFIG, fence=fence_config(scenario=3), desc="")
        found.append(judge(drawn, CONFIG, seed=3).without.attacks["boundary"].measured.auc)
    assert len(searched) == 1 + 2 and found[0] == found[1]  # the AUC asks for no threshold


def test_without_the_library_the_attack_is_listed_with_the_command_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setattr(boundary, "is_installed", lambda: False)
    protocol = replace(HELD_OUT, chosen=("loss", "boundary"))
    pair = judge(
        draw(fenced(tmp_path / "bank"), protocol, CONFIG, fence=fence_config(scenario=3), desc=""), CONFIG, seed=3
    )
    assert "pip install -r requirements-boundary.txt" in pair.fenced.not_run["boundary"]
    assert list(pair.fenced.attacks) == ["loss"]


def test_where_only_members_are_found_the_attack_is_listed_and_the_others_are_judged(tmp_path, monkeypatch):
    def found(labelling, images, member, config, *, key, desc):
        return np.where(member | ("fit" in desc), np.arange(len(member), dtype=np.float64), np.nan), 1

    monkeypatch.setattr(boundary, "search", found)
    drawn = draw(
        fenced(tmp_path / "bank"),
        replace(HELD_OUT, chosen=("loss", "boundary")),
        CONFIG,
        fence=fence_config(scenario=3),
        desc="",
    )
    pair = judge(drawn, CONFIG, seed=3)
    for verdict in (pair.without, pair.fenced):
        assert list(verdict.attacks) == ["loss"] and "has no score" in verdict.not_run["boundary"]


def test_the_boundary_is_searched_only_for_those_who_ask():
    assert not ATTACKS["boundary"].fast and "boundary" in HELD_OUT.left_out
    assert "--attacks all" in HELD_OUT.left_out["boundary"]


def test_numpys_global_generator_is_as_it_was_after_named_draws():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    with rng.numpy_global_draws(0, "x"):
        first = np.random.random()
    assert np.array_equal(np.random.get_state()[1], before)
    with rng.numpy_global_draws(0, "x"):
        assert np.random.random() == first
