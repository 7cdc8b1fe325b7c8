import re

import pytest

from common.cli.summary import main
from common.defenses import DEFENSES
from common.reports import overview
from common.runtime.paths import DatasetFolder
from tests import browser
from tests.common.reports.test_reading import report, write


@pytest.fixture
def root(tmp_path):
    """Two defences, one of them evaluated alone only; each but the first has a page."""
    for content in (
        report(defense="undefended", auc=0.8),
        report(auc=0.7),
        report(fenced=True, auc=0.55),
    ):
        folder = write(tmp_path, content)
    (folder.all_results / "selena_w_diffence" / "report.html").write_text("<p>")
    return tmp_path


def test_each_defence_has_a_row_and_a_link_to_its_page(root):
    target = overview.write(DatasetFolder(root / "digits"), defenses=list(DEFENSES))
    said = target.read_text()
    assert target == root / "digits" / "evaluate_MIAs" / "results" / "report.html"
    assert re.findall(r'<a href="([^#][^"]*)">(\w+)', said) == [("selena_w_diffence/report.html", "selena")]
    assert (target.parent / "selena_w_diffence/report.html").is_file()
    rows = [re.findall(r"<t[hd][^>]*>(?:<a[^>]*>)?([^<]*)", row) for row in re.findall("<tr><th.*", said)]
    assert ["selena", "0.900", "0.700 [0.600, 0.800]", "loss", "0.550 [0.450, 0.650]", "loss"] in rows
    assert ["undefended", "0.900", "0.800 [0.700, 0.900]", "loss", "-", "-"] in rows
    sentence = "picks the training image in 70 to 80 of 100 cases without a fence and 55 of 100 cases with the paper"
    assert sentence in said
    assert "undefended: 0.800 without a fence; selena: 0.700 without a fence, 0.550 paper&#39;s fence" in said


def test_the_summary_writes_it_for_the_datasets_that_have_results(root, capsys):
    assert main(["--html"], root=root) == 0
    assert capsys.readouterr().out == "digits/evaluate_MIAs/results/report.html\n"
    assert main(["--html", "--dataset", "svhn"], root=root) == 1
    assert "no results of svhn yet" in capsys.readouterr().err
    assert main(["--html", "--seeds"], root=root) == 1


@pytest.mark.skipif(browser.PROGRAM is None, reason="there is no Chromium")
def test_a_browser_shows_it_on_a_phone(root):
    target = overview.write(DatasetFolder(root / "digits"), defenses=list(DEFENSES))
    with browser.opened() as opened:
        opened.show(target, width=360)
        assert opened.complaints() == []
        assert [url for url in opened.asked_for() if not url.startswith("data:")] == [target.as_uri()]
        assert opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert "selena" in opened.named("link") and all(opened.named("image"))
