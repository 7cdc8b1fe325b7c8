import json

import torch

from common.evaluation.record import Privacy
from common.evaluation.shadow_record import (
    Epsilon,
    OfAllModels,
    OneRun,
    Rate,
    ShadowReport,
    ShadowRow,
    UnderFence,
    Vulnerable,
)
from common.reports import page, shadow_summary, shadows


def of_models(auc, *, mistakes):
    rate = Rate(value=0.125, interval=[0.1, 0.15], mistakes=mistakes)
    return OfAllModels(
        auc=auc, auc_ci=[auc - 0.01, auc + 0.01], tpr_at_fpr={"0.001": rate, "0.01": rate}, tnr_at_fnr={"0.001": rate}
    )


def row(auc, *, canaries, of_canaries=0.9):
    return ShadowRow(
        auc=auc,
        auc_ci=[auc - 0.05, auc + 0.05],
        models=of_models(auc, mistakes=12.0),
        canaries=of_models(of_canaries, mistakes=0.5) if canaries else None,
        epsilon=Epsilon(lower_bound=0.25, ceiling=3.5),
    )


def report(*, canaries=16, accounted=None):
    """Canaries are found best by an attack that is not the chosen one."""
    run = OneRun(attack="lira", canaries=16, guesses=8, right=7, lower_bound=0.4, ceiling=0.8) if canaries else None
    both = {"lira": row(0.7, canaries=canaries), "rmia": row(0.6, canaries=canaries, of_canaries=0.8)}
    without = UnderFence(attacks=both, not_run={"lira_16": "needs more"}, chosen="lira", one_run=run)
    fenced = UnderFence(attacks=both, not_run={}, chosen="rmia", one_run=run)
    worst = Vulnerable(
        index=17, label=4, canary=True, member=False, separations={"none": 3.0, "paper": 1.5, "steady": -0.25}
    )
    return ShadowReport(
        dataset="digits",
        defense="dpsgd" if accounted else "hamp",
        model="resnet",
        seed=0,
        shadows=64,
        canaries=canaries,
        diffusion="shared",
        samples={"tuning": 200, "attack_fit": 200, "final_test": 384, "canaries": canaries},
        test_accuracy=0.95,
        mean_test_accuracy=0.94,
        accounted=accounted,
        delta=1e-5,
        fences={"none": without, "paper": fenced, "steady": fenced},
        vulnerable=[worst],
        versions={},
        seconds=1.0,
    )


def test_all_that_was_found_is_told(tmp_path):
    said = shadows.write(tmp_path / "hamp_shadows", report(), {"x": torch.rand(1, 1, 8, 8)})
    assert "digits, hamp (resnet): 64 shadow models" in said and "384 samples" in said
    assert said.count("attack chosen on the fitting role: rmia") == 2 and "lira_16  not run: needs more" in said
    assert "12.5 % [10.0, 15.0]  " in said and "12.5 % [10.0, 15.0]*" in said  # of canaries too few for 0.1 %
    assert "0.25 [3.50]" in said and "accounts" not in said
    assert "One run, steady fence: lira guesses 8 of 16 canaries, 7 right: epsilon at least 0.40 (at most 0.80" in said
    assert "17, label 4 (wrong: a canary)  +3.00  +1.50          -0.25" in said
    assert (tmp_path / "hamp_shadows" / "shadows.txt").read_text() == said
    read = json.loads((tmp_path / "hamp_shadows" / "shadows.json").read_text())
    assert ShadowReport.model_validate(read) == report()
    assert (tmp_path / "hamp_shadows" / "vulnerable.png").stat().st_size > 0


def test_what_dpsgd_accounts_for_stands_beside_the_bounds():
    privacy = Privacy(epsilon=8.0, delta=1e-5, noise_multiplier=1.0, max_grad_norm=1.0)
    assert "DP-SGD accounts for epsilon 8.00 at delta 1e-05" in shadows.text(report(accounted=privacy))


def test_the_summary_has_a_row_for_each_audit_in_the_order_of_defences(tmp_path):
    for name, each in (("hamp_shadows-16-canaries", report()), ("hamp_shadows", report(canaries=0))):
        shadows.write(tmp_path / "digits" / "evaluate_MIAs" / "results" / name, each, {"x": torch.rand(1, 1, 8, 8)})
    said = shadow_summary.summarise(tmp_path, ["svhn", "digits"], order=["undefended", "hamp"], style="markdown")
    rows = [line for line in said.splitlines() if line.startswith("| hamp")]
    assert rows == [
        "| hamp | 64 | - | 0.940 | 0.700 / 0.600 / 0.600 | 12.5 % / 12.5 % / 12.5 % | - | - | 0.25 / 0.25 / 0.25 | "
        "- | - |",
        "| hamp | 64 | 16 | 0.940 | 0.700 / 0.600 / 0.600 | 12.5 % / 12.5 % / 12.5 % | 0.900 / 0.900 / 0.900 | "
        "12.5 %* / 12.5 %* / 12.5 %* | 0.25 / 0.25 / 0.25 | 0.40 / 0.40 / 0.40 | - |",
    ]


def test_the_page_says_the_chosen_attack_and_shows_the_most_vulnerable_images():
    found = shadows.of(report(), {"x": torch.rand(1, 1, 8, 8), "denoised": torch.rand(1, 1, 8, 8)})
    assert "70 of 100 cases without a fence (95 % sure: 69 to 71; lira)" in found.verdict
    assert "60 of 100 cases with the steady fence (95 % sure: 59 to 61; rmia)" in found.verdict
    rendered = page.render(found)
    assert 'alt="training image 17, label 4, x"' in rendered and "lira_16</th><td>needs more" in rendered
    assert "17, label 4 (wrong: a canary)</th><td>+3.00</td><td>+1.50</td><td>-0.25</td>" in rendered
