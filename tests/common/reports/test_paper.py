import pytest

from common.defenses import DEFENSES
from common.reports import paper
from common.runtime.errors import UserError
from common.runtime.paths import PAPER_RESULTS


def test_every_defence_has_its_numbers():
    found = paper.read(PAPER_RESULTS, defenses=DEFENSES)
    headline = {name: (row.accuracy, row.auc) for name, row in found.headline.items()}
    assert headline == {"undefended": (15.8, 14.0), "selena": (9.3, 10.0)}
    assert found.milliseconds_per_sample == 57
    assert set(found.table3) == set(found.table6) == set(DEFENSES)
    assert set(found.table7) == set(found.table8) == set(DEFENSES) - {"memguard"}


def test_the_headline_follows_from_table_three():
    """The paper's reductions are of the value without Diffence, to the digit that it gives."""
    found = paper.read(PAPER_RESULTS, defenses=DEFENSES)
    for name, row in found.headline.items():
        auc, accuracy = (
            100 * (1 - b / a) for a, b in zip(found.table3[name].without, found.table3[name].scenarios[0], strict=True)
        )
        assert auc == pytest.approx(row.auc, abs=0.06) and accuracy == pytest.approx(row.accuracy, abs=0.06)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("without: [79.14, 77.73]", "without: [179.14, 77.73]", "less than or equal to 100"),
        ("without: [79.14, 77.73]", "without: [79.14]", "without"),
        ("  selena: {test", "  sellena: {test", "sellena"),
        ("svhn: 24.0", "digits: 24.0", "digits"),
        ("57.0", ".inf", "milliseconds_per_sample"),
    ],
)
def test_mistakes_in_the_papers_numbers_are_named(tmp_path, old, new, complaint):
    text = PAPER_RESULTS.read_text()
    assert old in text
    (tmp_path / "paper.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=r"paper\.yaml") as caught:
        paper.read(tmp_path / "paper.yaml", defenses=DEFENSES)
    assert complaint in str(caught.value)
