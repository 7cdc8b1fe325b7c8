from common.evaluation.record import Report, UnderProtocol
from common.reports import verdict
from tests.common.reports.golden import made

WITHOUT, FENCED = made().values()


def changed(report: Report, **changes: object) -> Report:
    main = report.protocols[report.main].model_copy(update=changes)
    return report.model_copy(update={"protocols": {**report.protocols, report.main: main}})


def strongest(report: Report) -> tuple[UnderProtocol, str]:
    part = report.protocols[report.main]
    assert part.best.attack is not None
    return part, part.best.attack


def test_the_verdict_is_one_sentence_with_the_strongest_attack_its_certainty_its_queries_and_a_prior():
    said = verdict.sentence(WITHOUT, FENCED)
    part, name = strongest(FENCED)
    assert part.best.auc_ci is not None
    low, high = (f"{100 * end:.0f}" for end in part.best.auc_ci)
    assert f"{100 * part.best.auc:.0f} of 100 cases (95 % sure: {low} to {high}; {name}, 1 query an image)" in said
    assert said.count(". ") == 0 and said.endswith(".") and "\n" not in said
    named = part.attacks[name].ppv["0.1"]
    assert f"of 100 images that it calls training images behind it {100 * named.value:.0f} are" in said


def test_what_was_not_tested_is_said():
    said = verdict.sentence(WITHOUT, FENCED)
    assert "not tested: attackers who train shadow models" in said
    assert "lira (needs shadow models, and there are none)" in said


def test_a_stronger_attack_changes_the_verdict():
    part, _ = strongest(FENCED)
    row = part.attacks["loss"].model_copy(update={"auc": 0.87, "auc_ci": [0.8, 0.93], "queries": 64})
    best = part.best.model_copy(update={"auc": 0.87, "auc_ci": [0.8, 0.93], "attack": "loss"})
    stronger = changed(FENCED, attacks={**part.attacks, "loss": row}, best=best)
    said = verdict.sentence(WITHOUT, stronger)
    assert "87 of 100 cases (95 % sure: 80 to 93; loss, 64 queries an image) with the paper's fence" in said
