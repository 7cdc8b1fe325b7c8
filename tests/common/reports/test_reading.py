import json

import pytest

from common.defenses import DEFENSES
from common.reports import reading
from common.reports.reading import Key
from common.runtime.errors import UserError
from common.runtime.paths import DatasetFolder
from common.runtime.subject import Subject


def report(*, dataset="digits", defense="selena", fenced=False, model="resnet", auc=0.6, reduction=(0.2, 0.03)):
    """A report.json as an evaluation writes it, its numbers made up."""
    row = {
        "auc": auc,
        "auc_ci": [auc - 0.1, auc + 0.1],
        "balanced_accuracy": 0.55,
        "tpr_at_fpr": {"0.001": 0.0, "0.01": 0.02},
        "tnr_at_fnr": {"0.001": 0.0},
    }
    weak = {**row, "auc": 0.5, "tpr_at_fpr": {"0.001": 0.0, "0.01": 0.9}}
    best = {"auc": auc, "auc_ci": row["auc_ci"], "balanced_accuracy": 0.55, "attack": "loss", "selection_bias": 0.0}
    part = {"attacks": {"entropy": weak, "loss": row}, "best": best}
    if fenced:
        share = {"relative": reduction[0], "standard_error": reduction[1]}
        part["reduction"] = {"auc": share, "balanced_accuracy": {"relative": 0.1, "standard_error": 0.0}}
    published = json.loads(json.dumps(part))
    for row in (published["best"], published["attacks"]["loss"]):
        row |= {"auc": auc + 0.05, "auc_ci": [auc - 0.1, auc + 0.1]}
    return {
        "schema": 1,
        "dataset": dataset,
        "defense": defense,
        "model": model,
        "diffence": fenced,
        "accuracy": {"train": 1.0, "test": 0.9},
        "protocols": {"held_out": part, "published": published},
        "config": {"diffence": {"noising": "ddpm"}, "evaluation": {"num_sample": 5}},
        "a key of tomorrow": [1, None],
    }


def write(root, content, *, below=None, text=None):
    folder = DatasetFolder(root / content["dataset"])
    subject = Subject(content["model"], content["defense"])
    home = folder.results(subject, diffence=content["diffence"]) if below is None else folder.root / below
    home.mkdir(parents=True, exist_ok=True)
    (home / "report.json").write_text(json.dumps(content) if text is None else text)
    return folder


def test_every_report_is_read_and_unknown_keys_are_passed_over(tmp_path):
    write(tmp_path, report())
    write(tmp_path, report(fenced=True))
    folder = write(tmp_path, report(model="vgg16_bn"))
    write(tmp_path, report(), below="evaluate_MIAs/results/.selena.tmp", text="half writ")
    found = reading.read(folder, defenses=DEFENSES)
    assert set(found) == {
        Key(Subject("resnet", "selena"), False),
        Key(Subject("resnet", "selena"), True),
        Key(Subject("vgg16_bn", "selena"), False),
    }
    assert found[Key(Subject("resnet", "selena"), True)].protocols["held_out"].reduction.auc.relative == 0.2
    assert found[Key(Subject("resnet", "selena"), True)].noising == "ddpm"


def test_a_report_of_the_contracts_keys_alone_is_read(tmp_path):
    content = report()
    del content["config"]
    for part in content["protocols"].values():
        part["best"] = {"auc": 0.7, "balanced_accuracy": 0.55}
    folder = write(tmp_path, content)
    assert reading.read(folder, defenses=DEFENSES)[Key(Subject("resnet", "selena"), False)].noising == "unknown"


def without(key):
    content = report()
    del content[key]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not readable JSON"),
        ('{"schema": 1', "not readable JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "mistake"),
        (json.dumps({**report(), "schema": 2}), "schema"),
        (json.dumps({**report(), "accuracy": {"train": "0.9", "test": 0.9}}), "accuracy.train"),
        (json.dumps({**report(), "accuracy": {"train": 1.5, "test": 0.9}}), "accuracy.train"),
        (json.dumps({**report(), "accuracy": {"train": 1.0, "test": float("nan")}}), "NaN is not JSON"),
        (json.dumps({**report(), "protocols": {"held_out": {"attacks": {}, "best": {}}}}), "protocols.held_out"),
        (without("protocols"), "protocols: missing"),
        (json.dumps(report(dataset="cifar10")), "is a report of cifar10, selena"),
        (json.dumps(report(fenced=True)), "is a report of digits, selena_w_diffence"),
        (json.dumps(report(defense="../../x")), "is a report of digits, ../../x"),
        (json.dumps(report(model="vgg16_bn")), "is a report of digits, selena (vgg16_bn)"),
    ],
)
def test_damaged_and_foreign_reports_are_refused_by_name(tmp_path, text, reason):
    write(tmp_path, report(fenced=True))
    folder = write(tmp_path, report(), text=text)
    with pytest.raises(UserError) as caught:
        reading.read(folder, defenses=DEFENSES)
    assert "digits/evaluate_MIAs/results/selena/report.json" in str(caught.value) and reason in str(caught.value)
    assert "selena_w_diffence/report.json" not in str(caught.value)


def test_all_refused_reports_are_named_at_once(tmp_path):
    write(tmp_path, report(), text="x")
    folder = write(tmp_path, report(fenced=True), text="y")
    with pytest.raises(UserError, match=r"(?s)selena/report\.json.*selena_w_diffence/report\.json.*evaluate again"):
        reading.read(folder, defenses=DEFENSES)
