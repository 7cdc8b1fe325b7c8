"""Audits by shadow models on models that are normal distributions, and against counting by hand."""

import numpy as np
import pytest
import torch

from common.attacks import SHADOW_ATTACKS, statistics
from common.attacks.interface import Attack, CannotRun, Fitting, Needs
from common.diffence import Candidates, answer, tune
from common.diffence.measures import Fence, Measures
from common.evaluation import shadow_audit
from common.evaluation.reconstructions import Reconstructions
from common.evaluation.shadows import Models, Scores, each_in_turn, first, phi_of_true_label, rule_of, separations
from common.statistics import epsilon, roc
from common.statistics.proportions import clopper_pearson
from tests.common.attacks.test_shadow_attacks import shadow_settings

FITTING = Fitting(shadow_settings(), 0, hindsight_threshold=True)
MEASURES = Measures(
    num_candidates=4,
    noise="per_image",
    selection="matched",
    criterion="ks",
    tolerance=0.2,
    work="constant",
    answer="select",
)
FENCE = Fence(
    name="steady", step=1, scenario="members_and_non_members", noising="ddpm", group_size=8, measures=MEASURES
)


def store(*, pairs=8, n=60, gain=2.0, queries=("image",), seed=0):
    """Twins share the samples out; phi is greater by ``gain`` standard deviations where a model was trained on one."""
    generator = np.random.default_rng(seed)
    halves = [generator.permutation(n) < n // 2 for _ in range(pairs)]
    member = np.stack([generator.permutation(n) < n // 2, *(half for one in halves for half in (one, ~one))])
    centre = generator.normal(0, 3, (n, 1))
    phi = centre + gain * member[:, :, None] + generator.normal(size=(len(member), n, len(queries)))
    return Models(range(2 * pairs + 1), phi, member, queries)


def test_the_target_sees_all_and_another_model_all_but_the_target_and_its_twin():
    models = store(pairs=3)
    seen = {place: models.observed(place) for place in range(7)}
    assert np.array_equal(seen[0].shadow_phi, models.phi[1:])
    assert np.array_equal(seen[3].shadow_phi, models.phi[[1, 2, 5, 6]])
    assert np.array_equal(seen[4].in_shadow, models.member[[1, 2, 5, 6]])
    for place, each in seen.items():
        assert np.allclose(statistics.phi_of(each.answers, each.labels[:, None]), models.phi[place])
        assert np.array_equal(each.member, models.member[place])
        assert (each.in_shadow.sum(axis=0) == len(each.in_shadow) / 2).all()  # who counts learns nothing


def test_an_attack_is_fitted_and_scored_on_each_model_in_turn():
    """The attack's scores are phi less its greatest of the fitting samples."""
    models = store()
    attack = Attack(
        "mine", "this test", Needs(shadows=True),
        fit=lambda observations, fitting: observations.answers.max(),
        scores=lambda greatest, observations: observations.answers[:, 0, 0] - greatest,
    )  # fmt: skip
    found = each_in_turn(models, attack, np.arange(20), np.arange(20, 60), FITTING)
    expected = models.phi[:, 20:, 0] - np.maximum(models.phi[:, :20, 0].max(axis=1), 0)[:, None]
    np.testing.assert_allclose(found.scores, expected)
    assert np.array_equal(found.member, models.member[:, 20:])
    assert found.aucs == pytest.approx([roc.auc(*row) for row in zip(found.scores, found.member, strict=True)])
    with pytest.raises(CannotRun, match="needs 15 queries"):
        each_in_turn(models, SHADOW_ATTACKS["lira_16"], np.arange(20), np.arange(20, 60), FITTING)


def test_rates_are_of_all_scores_together():
    scores = Scores(
        np.array([[3.0, 1.0, 0.0, 2.0], [5.0, 4.0, 1.0, 0.0]]), np.array([[1, 0, 1, 0], [1, 1, 0, 0]], bool)
    )
    none = shadow_audit.rate(scores, 0.0)  # above 2, the greatest of the others: 3, 5 and 4 of four members
    assert none.value == 0.75 and none.mistakes == 0
    assert none.interval[0] < 0.75 < none.interval[1]
    assert shadow_audit.rate(scores, 0.25).value == 0.75 and shadow_audit.rate(scores, 1.0).value == 1


def test_models_that_agree_are_not_sure():
    member = np.tile(np.arange(8) < 4, (9, 1))
    perfect = Scores(np.where(member, 1.0, 0.0), member)
    for scores, value, interval in (
        (perfect, 1.0, clopper_pearson(36, 36)),
        (Scores(-perfect.scores, member), 0.0, clopper_pearson(0, 36)),
    ):
        found = shadow_audit.rate(scores, 0.0)
        assert (found.value, found.interval) == (value, list(interval))


def test_intervals_of_rates_allow_for_the_threshold_that_was_found_among_the_same_scores():
    """Student's t over the models at one threshold for all holds the true rate in some 70 of 100 cases."""
    gains = np.random.default_rng(0).gamma(1.0, 1.0, 400)

    def drawn(pairs, seed):
        generator = np.random.default_rng(seed)
        halves = generator.permuted(np.tile(np.arange(400) < 200, (1 + pairs, 1)), axis=1)
        member = np.concatenate([halves[:1], np.stack([halves[1:], ~halves[1:]], axis=1).reshape(-1, 400)])
        return Scores(generator.normal(member * gains + generator.normal(0, 0.3, (len(member), 1))), member)

    true, held = roc.tpr_at_fpr(*drawn(600, 99).together, 0.001), 0
    for seed in range(40):
        least, most = shadow_audit.rate(drawn(8, seed), 0.001).interval
        held += least <= true <= most
    assert held >= 34


@pytest.mark.parametrize("models", [5, 9])
def test_intervals_over_few_models_cover_their_mean(models):
    generator, covered = np.random.default_rng(0), 0
    for _ in range(2000):
        low, high = shadow_audit.over_models(generator.normal(0.6, 0.05, models))
        covered += low <= 0.6 <= high
    assert abs(covered / 2000 - 0.95) < 0.015


def test_where_no_threshold_proves_anything_the_one_that_tells_most_apart_is_tried():
    generator, member = np.random.default_rng(1), np.arange(200) < 100
    few = np.r_[0:4, 100:104]
    scores = np.where(member, 1.0, 0.0) + generator.normal(0, 0.3, 200)
    known, judged = (Scores(scores[None, part], member[None, part]) for part in (few, np.arange(200)))
    bounds = [epsilon.lower_bound(roc.point_at(*known.of_target, each), delta=0.0) for each in np.unique(known.scores)]
    assert max(bounds) == 0.0
    assert shadow_audit.epsilon_of(known, judged, delta=0.0).lower_bound > 1.0


def test_an_audit_finds_what_there_is_and_nothing_where_there_is_nothing():
    roles = {"attack_fit": np.arange(0, 60), "final_test": np.arange(60, 200), "canaries": np.arange(200, 240)}
    for gain, low, high in ((2.0, 0.88, 0.95), (0.0, 0.47, 0.53)):
        found = shadow_audit.under_fence(store(pairs=16, n=240, gain=gain), roles, FITTING, resamples=100, delta=0.0)
        for name in ("lira", "lira_offline", "rmia"):
            row = found.attacks[name]
            assert low - 0.05 < row.models.auc < high and low - 0.08 < row.canaries.auc < high + 0.03, (gain, name)
            assert row.models.auc_ci[0] < row.models.auc < row.models.auc_ci[1]
            assert row.epsilon.lower_bound <= row.epsilon.ceiling
        assert found.not_run.keys() == {each for each in SHADOW_ATTACKS if "_16" in each}
        run = found.one_run
        assert (run.canaries, run.guesses, run.attack) == (40, 20, found.chosen)
        assert run.right >= 17 if gain else 4 <= run.right <= 16
        assert (
            run.lower_bound == epsilon.one_run_bound(canaries=40, guesses=20, right=run.right, delta=0.0) <= run.ceiling
        )


def test_separations_are_differences_in_standard_deviations():
    models = store(pairs=400, n=30, gain=1.5)
    np.testing.assert_allclose(separations(models), 1.5, atol=0.35)
    assert separations(models).mean() == pytest.approx(1.5, abs=0.06)


def test_the_most_vulnerable_are_found_by_one_half_of_the_models_and_measured_by_the_other():
    """Where all samples are alike, those that look worst to one half are like the rest to the other."""
    places = np.arange(60)
    given = {"indices": places + 1000, "labels": places % 10, "canaries": np.array([1003])}
    alike = shadow_audit.most_vulnerable({"none": store(pairs=40, gain=1.0)}, places, **given)
    assert np.mean([each.separations["none"] for each in alike]) == pytest.approx(1.0, abs=0.2)
    models = store(pairs=40, gain=0.0)
    models.phi[:, 3] += 8 * models.member[:, 3, None]
    first, *rest = shadow_audit.most_vulnerable({"none": models, "paper": models}, places, **given)
    assert (first.index, first.label, first.canary, first.member) == (1003, 3, True, bool(models.member[0, 3]))
    assert first.separations["none"] == first.separations["paper"] > 5 > max(each.separations["none"] for each in rest)
    assert len(rest) == 9 and not any(each.canary for each in rest)
    assert shadow_audit.most_vulnerable({"none": store(pairs=1)}, places, **given) == []


def candidates(n, count, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, count + 1, 5, generator=generator)
    return Candidates(logits, torch.full((n,), count), torch.rand(n, dtype=torch.float64, generator=generator))


def test_a_model_is_asked_raw_or_behind_its_own_fence():
    own, near, labels = candidates(24, 6, 0), candidates(24, 9, 1), np.arange(24) % 5
    keys = [bytes([place]) for place in range(24)]
    raw = phi_of_true_label(own, near, None, None, labels, keys, seed=0)
    expected = statistics.phi_of(own.logits[:, -1].double().numpy(), labels)
    np.testing.assert_allclose(raw, np.tile(expected[:, None], 16))  # without a fence copies are answered alike
    member = np.arange(24) % 2 == 0
    rule = rule_of(own, member, FENCE)
    known = Candidates(torch.cat([own.logits[:, :4], own.logits[:, -1:]], dim=1), torch.full((24,), 4), own.rank)
    expected = tune(known[torch.from_numpy(member)], known[torch.from_numpy(~member)], FENCE)
    assert torch.equal(answer(known, rule).logits, answer(known, expected).logits)
    assert torch.equal(first(own, 4).logits, known.logits)
    found = phi_of_true_label(own, near, rule, FENCE, labels, keys, seed=0)
    assert found.shape == (24, 16)
    fenced = answer(known, rule).logits.double().numpy()
    np.testing.assert_allclose(found[:, 0], statistics.phi_of(fenced, labels))
    assert np.array_equal(
        found[3:5], phi_of_true_label(own[3:5], near[3:5], rule, FENCE, labels[3:5], keys[3:5], seed=0)
    )


class Counting:
    """A fence whose reconstructions are the image and the image's negative, made at most once."""

    num_candidates = 2

    def __init__(self):
        self.made = 0

    def reconstructions(self, x, *, tick):
        self.made += len(x)
        tick(len(x))
        return torch.stack([x, 1 - x], dim=1)

    def classified(self, x, found):
        assert torch.equal(found, torch.stack([x, 1 - x], dim=1))
        return Candidates(found.flatten(2), torch.full((len(x),), 2), torch.zeros(len(x)))


def test_reconstructions_are_made_once_and_again_where_they_are_damaged(tmp_path, capsys):
    images = torch.arange(5 * 4, dtype=torch.uint8).reshape(5, 1, 2, 2)
    fence = Counting()
    kept = Reconstructions(fence, tmp_path / "pool", images, 2, torch.device("cpu"))
    kept.fill(desc="purify")
    assert fence.made == 5
    kept.fill(desc="purify")
    assert kept.classified(fence).logits.shape == (5, 2, 4) and fence.made == 5
    path = tmp_path / "pool" / "pool-00001.npy"
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    assert torch.equal(kept.classified(fence).logits[2, 0], images[2].flatten() / 255) and fence.made == 7
    assert "pool-00001.npy is made anew: its checksum does not fit" in capsys.readouterr().err
