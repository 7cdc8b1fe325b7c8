from common.evaluation.record import UnderProtocol
from common.reports import text


def part(not_run=None, **intervals):
    rows = {
        name: {"auc": sum(ends) / 2, "auc_ci": ends, "balanced_accuracy": 0.5, "tpr_at_fpr": {}}
        for name, ends in intervals.items()
    }
    best = {"auc": max(row["auc"] for row in rows.values()), "balanced_accuracy": 0.5}
    return UnderProtocol.model_validate({"attacks": rows, "best": best, "not_run": not_run or {}})


def test_an_attack_that_fails_more_surely_than_chance_is_reported_with_what_its_opposite_gets():
    plain = part(loss=[0.3, 0.4], entropy=[0.35, 0.45], correctness=[0.5, 0.54])
    fenced = part(loss=[0.44, 0.52], entropy=[0.5, 0.6])
    (line,) = text.inverted_lines(plain, fenced)
    assert line.startswith("NOTE: Without Diffence loss has AUC 0.350 [0.300, 0.400]")
    assert "has 0.650," in line
    (line,) = text.inverted_lines(fenced, plain)
    assert line.startswith("NOTE: With Diffence loss ")
    assert text.inverted_lines(fenced, fenced) == []
