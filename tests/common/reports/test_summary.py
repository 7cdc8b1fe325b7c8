import math

import pytest

from common.cli.summary import main
from common.evaluation.record import Reduction
from common.reports import summary
from common.reports.paper import PAPER_DATASETS
from tests.common.reports.test_reading import report, write


@pytest.fixture
def root(tmp_path):
    return tmp_path


def cells(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_a_dataset_shows_each_defence_alone_and_with_diffence(root, capsys):
    for content in (
        report(auc=0.7),
        report(fenced=True, auc=0.55),
        report(defense="undefended", auc=0.8),
        report(model="vgg16_bn", fenced=True, auc=0.52),
    ):
        write(root, content)
    seconds = root / "digits" / "final-all-models" / "resnet" / "selena.pth.tar.seconds.json"
    seconds.parent.mkdir(parents=True)
    seconds.write_text('{"seconds": 123.4}')
    assert main(["--markdown"], root=root) == 0
    title, _, header, _, *rows = capsys.readouterr().out.splitlines()
    assert title == "### digits" and cells(header) == summary.HEADER
    # the weak attack has the greater TPR, but it is the best attack's that counts
    assert [cells(row) for row in rows] == [
        ["undefended", "0.900", "0.800 [0.700, 0.900]", "-", "0.850 / -", "0.020 / -", "-"],
        ["selena", "0.900", "0.700 [0.600, 0.800]", "0.550 [0.450, 0.650]", "0.750 / 0.600", "0.020 / 0.020", "123"],
        ["selena (vgg16_bn)", "0.900", "-", "0.520 [0.420, 0.620]", "- / 0.570", "- / 0.020", "-"],
    ]


def test_the_averages_of_the_papers_datasets_stand_beside_the_papers(root, capsys):
    shares = {"cifar10": (0.10, 0.03), "cifar100": (0.20, 0.06), "svhn": (0.30, 0.06)}
    for dataset in PAPER_DATASETS:
        write(root, report(dataset=dataset, defense="undefended"))
        write(root, report(dataset=dataset, defense="undefended", fenced=True, reduction=shares[dataset]))
    assert main(["--markdown"], root=root) == 0
    out = capsys.readouterr().out
    half = 1.96 * math.sqrt(0.03**2 + 0.06**2 + 0.06**2) / 3 * 100
    mean = f"20.0 [{20 - half:.1f}, {20 + half:.1f}]"
    less = f"+6.0 [{6 - half:+.1f}, {6 + half:+.1f}]"
    rows = [cells(line) for line in out.splitlines() if line.startswith("| undefended: attack")]
    assert rows == [
        ["undefended: attack accuracy", "15.8", "10.0 [10.0, 10.0]", "-5.8 [-5.8, -5.8]", "10.0 [10.0, 10.0]"],
        ["undefended: attack AUC", "14.0", mean, less, mean],
    ]
    assert "relative reductions" in out and "Forward noising here: ddpm" in out and "57 ms" in out
    assert "selena: attack" not in out


@pytest.mark.parametrize("missing", PAPER_DATASETS)
def test_there_are_no_averages_of_two_datasets(root, capsys, missing):
    for dataset in PAPER_DATASETS:
        write(root, report(dataset=dataset, defense="undefended", fenced=dataset != missing))
    assert main([], root=root) == 0
    out = capsys.readouterr().out
    assert "averages" not in out and all(name in out for name in PAPER_DATASETS)


def test_without_results_the_commands_that_make_some_are_named(root, capsys):
    assert main(["--dataset", "digits"], root=root) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert (
        "error: no results of digits yet" in captured.err
        and "bash evaluate_mia.sh --defense undefended" in captured.err
    )


def test_a_damaged_report_leaves_nothing_printed(root, capsys):
    write(root, report())
    write(root, report(fenced=True), text="{")
    assert main([], root=root) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "selena_w_diffence/report.json" in captured.err


def test_the_mean_of_reductions_has_the_standard_error_of_independent_datasets():
    mean = summary.mean_reduction(
        [Reduction(relative=0.1, standard_error=0.3), Reduction(relative=0.3, standard_error=0.4)]
    )
    assert mean.value == pytest.approx(20) and mean.half == pytest.approx(1.96 * 25)
    assert str(mean) == "20.0 [-29.0, 69.0]" and mean.less(15.0) == "+5.0 [-44.0, +54.0]"
