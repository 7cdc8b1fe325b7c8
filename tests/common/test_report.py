from types import SimpleNamespace

from common import report


def verdict(**aucs):
    return SimpleNamespace(measurements={name: {"auc": sum(ci) / 2, "auc_ci": ci} for name, ci in aucs.items()})


def test_an_attack_that_fails_more_surely_than_chance_is_told_with_what_its_opposite_gets():
    plain = verdict(loss=[0.3, 0.4], entropy=[0.35, 0.45], correctness=[0.5, 0.54])
    fenced = verdict(loss=[0.44, 0.52], entropy=[0.5, 0.6])
    (line,) = report._inverted_lines(SimpleNamespace(without=plain, fenced=fenced))
    assert line.startswith("NOTE: Without Diffence loss has AUC 0.350 [0.300, 0.400]")
    assert "has 0.650," in line
    (line,) = report._inverted_lines(SimpleNamespace(without=fenced, fenced=plain))
    assert line.startswith("NOTE: With Diffence loss ")
    assert report._inverted_lines(SimpleNamespace(without=fenced, fenced=fenced)) == []
