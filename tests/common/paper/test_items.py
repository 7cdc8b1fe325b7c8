"""Items of the paper against verdicts that are made up, and counted by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from common.defenses import DEFENSES
from common.evaluation.record import AttackRow, Best, Bins, Estimate, UnderProtocol, Utility
from common.paper import (
    ITEMS,
    bench,
    figure5,
    figure6,
    figure7,
    figure8,
    figure9,
    figure10,
    figure11,
    figure13,
    table3,
    table4,
    table5,
    table6,
    table7,
    table8,
    words,
    write,
)
from common.paper.bench import Judged
from common.paper.interface import Item, Made, Table
from common.paper.write import Place
from common.reports import paper, tables
from common.runtime import storage
from common.runtime.errors import UserError
from common.runtime.paths import PAPER_RESULTS

PAPER = paper.read(PAPER_RESULTS, defenses=DEFENSES)


def under(auc, accuracy, *, test=0.9, error=0.05, not_run=None):
    row = AttackRow(auc=auc, auc_ci=[auc, auc], balanced_accuracy=accuracy, tpr_at_fpr={})
    estimate = Estimate(value=error, interval=[error, error])
    worth = Utility(
        calibration_error=estimate, negative_log_likelihood=estimate, brier_score=estimate,
        bins=Bins(counts=[], confidences=[], accuracies=[]),
    )  # fmt: skip
    return UnderProtocol(
        attacks={"correctness": row},
        not_run=not_run or {},
        best=Best(auc=auc, balanced_accuracy=accuracy),
        utility=worth,
        accuracy={"train": 1.0, "test": test},
    )


class Bench:
    """A bench whose verdicts follow from the defence's place and the scenario alone."""

    def __init__(self, name, more):
        self.name, self.more = name, more
        self.experiment = SimpleNamespace(
            evaluation_config=SimpleNamespace(boundary=SimpleNamespace(samples=50)),
            fence_config=SimpleNamespace(num_candidates=30, step=160),
        )

    def fence(self, *, scenario):
        return scenario

    def judged(self, subject, protocol, fences):
        place = list(DEFENSES).index(subject.defense)
        alone = under(0.8 + self.more - 0.01 * place, 0.75, test=0.9 - 0.01 * place)
        return [
            Judged(without=alone, fenced=under(0.6 + self.more + 0.01 * scenario, 0.55, error=0.04))
            for scenario in fences
        ]


def test_table_three_averages_over_datasets():
    made = table3.make([Bench("a", 0.0), Bench("b", 0.1)], PAPER)
    rows = {row[0]: row[1:] for row in made.tables[0].rows}
    assert rows["undefended"] == [
        "+0.0", "+0.0", "79.1 / 77.7", "85.0 / 75.0",
        "68.1 / 65.4", "66.0 / 55.0", "70.8 / 67.1", "67.0 / 55.0", "69.1 / 67.0", "68.0 / 55.0",
    ]  # fmt: skip
    selena = list(DEFENSES).index("selena")
    assert rows["selena"][:4] == ["-2.1", f"{-selena:+.1f}", "62.2 / 60.9", f"{85 - selena:.1f} / 75.0"]
    assert made.paper == "79.1 / 77.7 -> 68.1 / 65.4" and made.ours == "85.0 / 75.0 -> 66.0 / 55.0"
    assert f"{100 * (1 - 66 / 85):.1f} %" in made.says
    assert [row[0] for row in made.tables[1].rows] == list(table3.DEFENSES)
    assert made.notes[0] == "N = 30, T = 160 (the paper: N = 30, T = 160)."


def test_figure_five_counts_the_classifiers_that_gain():
    made = figure5.make([Bench("a", 0.0)], PAPER)
    assert "7 of 7" in made.says and set(made.figures) == {"auc", "accuracy"}
    falls = {name: 100 - 6100 / (80 - list(DEFENSES).index(name)) for name in table3.DEFENSES}
    of_all = np.mean([*falls.values()])
    but_hamp = np.mean([fall for name, fall in falls.items() if name != "hamp"])
    assert made.ours == f"AUC falls by {of_all:.1f} % (falls by {but_hamp:.1f} % without HAMP) on the mean"
    assert made.paper.startswith("AUC falls by 8.5 % (falls by 7.5 % without HAMP)")


def test_figure_thirteen_has_a_mean_without_hamp(monkeypatch):
    with_hamp_alone = {"undefended": 0.8, "hamp": 0.9}
    monkeypatch.setattr(figure13, "DEFENSES", tuple(with_hamp_alone))
    monkeypatch.setattr(
        figure13,
        "cases",
        lambda bench: [
            SimpleNamespace(only=Judged(under(auc, 0.6), under(0.6, 0.6))) for auc in with_hamp_alone.values()
        ],
    )
    made = figure13.make([Other("digits")], PAPER)
    assert made.ours.startswith("AUC falls by 29.2 % (falls by 25.0 % without HAMP), accuracy falls by 0.0 %")


def test_figure_six_says_what_was_found():
    made = figure6.make([Bench("a", 0.0)], PAPER)
    assert made.ours == "0.050 / 0.040 / 0.040 / 0.040" and made.paper == "0.139 / 0.142 / 0.126 / 0.131"
    assert made.tables[0].rows[-1] == ["HAMP", "0.448 (222 % higher)", "0.050 (0 %)"]
    assert "changes by -20 %, -20 %, -20 %" in made.says and "with HAMP by +0 % (paper: +222 %)" in made.says


def test_table_six_says_why_the_boundary_is_missing():
    class NoBoundary(Bench):
        def judged(self, subject, protocol, fences):
            part = under(0.6, 0.55, not_run={"boundary": "needs a search"})
            return [Judged(without=part, fenced=part) for _ in fences]

    made = table6.make([NoBoundary("a", 0.0)], PAPER)
    assert made.tables[0].rows[0] == ["undefended", "58.5", "60.0", "70.8", "70.9", "-", "-"]
    assert any(note.startswith("boundary: needs a search") for note in made.notes)


class WithBoundary(Bench):
    def judged(self, subject, protocol, fences):
        part = under(0.6, 0.55)
        row = part.attacks["correctness"].model_copy(update={"auc": 0.6, "auc_ci": [0.5, 0.72]})
        part = part.model_copy(update={"attacks": {**part.attacks, "boundary": row}})
        return [Judged(without=part, fenced=part) for _ in fences]


def test_table_six_says_how_sure_a_boundary_on_few_samples_is():
    made = table6.make([WithBoundary("a", 0.0)], PAPER)
    assert made.says.endswith("60.0 by the boundary (95 %: 11 points more or less)")
    assert "On so few the 95 % interval of a boundary AUC reaches 11 points each way." in made.notes


def test_table_four_calls_noise_what_is_noise():
    assert table4._lower([-1.0, 0.5, -0.2]) == "lower on 2 of 3 classifiers, by at most 1.0 points"
    assert table4._lower([0.5]) == "lower on 0 of 1 classifiers, by at most 0.0 points"
    assert table4._lower(table4._reported(PAPER)) == "lower on 5 of 6 classifiers, by at most 11.4 points"
    assert "no change here is above 1.0 points" in table4._noise([-1.0, 0.5], 3.4)
    assert table4._noise([-1.0, 4.0], 3.4) == table4._noise([0.1], None) == ""
    assert "is 80.8 %, less than HAMP's own 97.7 %: a weak baseline." in table4._baseline("hamp", 80.8, 97.7)
    assert table4._baseline("selena", 94.3, 92.4).endswith("its test accuracy here is 94.3 %.")


class AsAuthors(Bench):
    """Of which every change of AUC is a point, and every interval six points wide."""

    def fence(self, *, scenario, num_candidates, step):
        return scenario

    def judged(self, subject, protocol, fences):
        found = []
        for auc, fall in ((0.55, 0.0), (0.55, 0.01)):
            part = under(auc - fall, 0.55)
            found.append(part.model_copy(update={"best": part.best.model_copy(update={"auc_ci": [0.51, 0.57]})}))
        return [Judged(*found)]


def test_table_four_says_so_in_its_sentence():
    said = table4.make([AsAuthors("a", 0.0)], PAPER).says
    assert "lower on 6 of 6 classifiers, by at most 1.0 points (paper: lower on 5 of 6" in said
    assert said.endswith("reaches 3.0 to each side: this is noise")


def test_table_five_and_table_eight_have_the_papers_numbers_of_its_three_datasets():
    assert table5._reported(PAPER, "undefended") == "26 / 24 / 24"
    assert table5._reported(PAPER, "diffence") == "82 / 82 / 81"
    assert table5._reported(PAPER, "selena") == table5._reported(PAPER, None) == "-"
    assert [table5._threads(count) for count in (1, 2)] == ["1 thread", "2 threads"]
    assert table8._by_dataset(table8._slowest(PAPER)) == (
        "SELENA and AdvReg on CIFAR-10, AdvReg on CIFAR-100, SELENA on SVHN"
    )
    assert table8._by_dataset({"digits": "selena", "svhn": "selena"}) == "SELENA"


def test_kept_verdicts_are_read_and_none_is_made(tmp_path):
    class Where(bench.Bench):
        def models(self, subject):
            return None

        def _path(self, subject, models, protocol, fence):
            return tmp_path / ("alone.json" if fence is None else "fenced.json")

    where, of = Where(experiment=None), (None, None, "a fence")
    for name, auc in (("alone", 0.7), ("fenced", 0.6)):
        assert where.kept(*of) is None
        content = under(auc, 0.6).model_dump(mode="json")
        storage.write_json(tmp_path / f"{name}.json", storage.with_checksum(content))
    found = where.kept(*of)
    assert (found.without.best.auc, found.fenced.best.auc) == (0.7, 0.6)


def test_table_seven_says_what_the_ordinary_fence_takes_where_that_is_known():
    class Kept(Bench):
        def kept(self, subject, protocol, fence):
            return self.judged(subject, protocol, [fence])[0] if self.more else None

    assert table7._ordinary([Kept("a", 0.1)]).endswith(f"changes that AUC by {100 * (0.73 - 0.9):+.1f} by itself")
    assert table7._ordinary([Kept("a", 0.1), Kept("b", 0.0)]).endswith("is in table III, scenario 3")


def test_figure_ten_is_a_distribution_function():
    first = np.array([0, 0, 2, figure10.CANDIDATES])  # of four samples, the last without any
    found = figure10._distribution(first)
    assert found[:4].tolist() == [0.5, 0.5, 0.75, 0.75] and found[-1] == 0.75 and len(found) == figure10.CANDIDATES


def test_patches_are_windows_of_the_photographs():
    found, first = figure13.patches(), load_sample_images().images[0]
    assert found.shape[1:] == (3, 16, 16) and found.dtype == torch.uint8
    assert np.array_equal(found[5].permute(1, 2, 0), first[:16, 40:56])  # 8 pixels apart


def test_the_papers_datasets_need_a_diffusion_model_of_other_data():
    assert "figures 8 and 13 of svhn need" in ITEMS["figure8"].lacks(Other("svhn"))
    given = Other("svhn")
    given.other = "imagenet.pt"
    assert figure13.lacks(Other("digits")) is None and figure13.lacks(given) is None


def test_figure_8_has_a_row_for_each_dataset_and_the_papers_numbers_where_it_is_the_papers(monkeypatch):
    found = {"celeba": figure13.Falls((1.0, 0.5), 2.0, [["undefended", "1", "2"]])}
    found["birds"] = figure13.Falls((3.0, -0.5), 4.0, [])
    monkeypatch.setattr(figure8, "measured", lambda benches: found[benches[0].name])
    made = figure8.make([Other("celeba"), Other("birds")], PAPER)
    assert made.tables[0].rows == [["celeba", "6.2", "1.0", "6.0", "2.0"], ["birds", "-", "3.0", "-", "4.0"]]
    assert made.paper == "AUC falls by 6.2 % (celeba), falls by 9.5 % (utkface)" and len(made.tables) == 3
    assert made.ours.endswith("falls by 3.0 % (rises by 0.5 % without HAMP) on birds")
    assert "birds stands in the place of CelebA and UTKFace" in made.notes[0] and "celeba stands" not in made.notes[0]
    assert "same measurement as figure 13's" in made.notes[0]


class Other:
    other = None

    def __init__(self, name):
        self.name = name


def test_a_share_falls_rises_or_is_of_nothing():
    assert words.share(80, 60) == 25 and words.share(50, 60) == pytest.approx(-20) and math.isnan(words.share(0, 5))
    assert words.falls(25) == "falls by 25.0 %" and words.falls(-20) == "rises by 20.0 %"
    assert "%" not in words.falls(math.nan).replace("share of", "")


def test_trends_are_rank_correlations_with_n_and_with_t():
    falls_with_n = -np.arange(len(figure11.COUNTS), dtype=float)[:, None] * np.ones(len(figure11.STEPS))
    rises_with_t = falls_with_n + 100 * np.arange(len(figure11.STEPS)) ** 3
    assert figure11.trends(rises_with_t) == pytest.approx((-1.0, 1.0))


def test_trends_fall_or_fall_weakly_or_do_not():
    assert figure11.direction([-0.9, -0.51]) == "fall with N and with T"
    assert figure11.direction([-0.42, -0.58, -0.26]) == "fall with N and with T, but weakly (not all below -0.5)"
    assert figure11.direction([-0.9, 0.1]) == "do not all fall with N and with T"
    assert figure9.direction(-0.32) == "falls weakly with the divergence"
    assert figure9.direction(-0.51).startswith("falls with")
    assert figure9.direction(0.51).startswith("rises with")
    assert figure9.direction(0.1).startswith("rises weakly with")


def test_figure_seven_names_what_rises():
    rates = {"undefended": [[2.0, 1.0], [1.0, 3.0]], "hamp": [[0.0, 4.0], [1.0, 5.0]]}
    falls = figure7._falls(rates)
    assert falls["undefended"] == [50.0, -200.0] and math.isnan(falls["hamp"][0])
    assert (
        figure7._rising(rates) == ", but the TPR rises for HAMP and the TNR at 0.1 % FNR rises for undefended and HAMP"
    )
    assert figure7._rising({"selena": [[1.0, 2.0], [2.0, 1.0]]}) == ", but the TPR rises for SELENA"
    assert figure7._rising({"selena": [[1.21, 2.0], [1.24, 2.0]]}) == ""  # the page shows 1.2 and 1.2


def test_figure_seven_leaves_out_what_was_0_and_says_so():
    falls = {"undefended": [50.0, 1.0], "selena": [math.nan, 2.0], "hamp": [-100.0, 4.0]}
    assert figure7._mean_of_six(falls, 0) == (-100.0, " (1 left out, whose rate was 0)")
    assert figure7._mean_of_six(falls, 1) == (3.0, "")
    assert set(figure7.ONCE) == {"lira", "lira_offline", "lira_ranks", "rmia", "rmia_offline"}


def test_pages_go_to_no_folder_that_is_not_theirs(tmp_path):
    write.require_place(tmp_path / "new")
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match=r"README\.md is no index"):
        write.require_place(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        write.require_place(tmp_path / "README.md")
    write.write(Place(tmp_path, "table3", ("digits",)), ITEM, MADE, command="bash reproduce.sh table3")
    write.require_place(tmp_path)


def test_a_kept_verdict_that_was_changed_is_made_anew(tmp_path):
    content = under(0.7, 0.6).model_dump(mode="json")
    path = tmp_path / "verdict.json"
    storage.write_json(path, storage.with_checksum(content))
    kept = bench._kept(path)
    assert kept is not None and kept.best.auc == 0.7
    path.write_text(path.read_text().replace("0.7", "0.6"))
    assert bench._kept(path) is None and bench._kept(tmp_path / "none.json") is None
    path.write_text("[1]")
    assert bench._kept(path) is None


def test_every_item_says_what_it_needs():
    for name, item in ITEMS.items():
        assert item.title.startswith(("Table", "Figure")) and set(item.defenses) <= set(DEFENSES), name


MADE = Made(
    paper="1",
    ours="2",
    says="it came out",
    tables=[Table("A caption.", ["a_b", "%"], [["x & y", "1 ± 2"]])],
    notes=["n"],
)
ITEM = Item("Table III: a title", (), lambda benches, numbers: MADE, of="CIFAR-10")


def test_a_page_an_index_and_latex_are_written_and_other_datasets_kept(tmp_path):
    write.write(Place(tmp_path, "table3", ("digits",)), ITEM, MADE, command="bash reproduce.sh table3")
    write.write(Place(tmp_path, "table3", ("cifar10", "svhn")), ITEM, MADE, command="bash reproduce.sh table3 …")
    write.write(Place(tmp_path, "table3", ("digits",)), ITEM, MADE, command="bash reproduce.sh table3")
    page = (tmp_path / "table3.md").read_text()
    assert "- the paper (CIFAR-10): 1" in page
    assert "# Table III: a title" in page and "It came out." in page and "| x & y | 1 ± 2 |" in page and "- n" in page
    assert (tmp_path / "table3.tex").read_text().splitlines()[2:5] == [
        r"a\_b & \% \\", r"\midrule", r"x \& y & 1 $\pm$ 2 \\",
    ]  # fmt: skip
    index = (tmp_path / "README.md").read_text()
    assert index.count("| [Table III: a title](table3.md) | digits | 1 | 2 | It came out. |") == 1
    assert "(table3-cifar10-svhn.md) | cifar10 svhn |" in index and (tmp_path / "table3-cifar10-svhn.md").is_file()
    assert [each.datasets for each in write.read(tmp_path)] == ["cifar10 svhn", "digits"]


@pytest.mark.parametrize("damage", ["[", "{}3", '[{"item": "table99"}]'])
def test_a_damaged_index_is_named(tmp_path, damage):
    (tmp_path / "index.json").write_text(damage)
    with pytest.raises(UserError, match=r"index\.json"):
        write.read(tmp_path)


def test_latex_escapes_what_it_would_read():
    assert r"50\% \& \textbackslash{}x & \$y\$" in tables.latex(["50% & \\x", "$y$"], [])
