import pytest

from common.defenses import DEFENSES
from common.reports import paper
from common.runtime.errors import UserError
from common.runtime.paths import PAPER_RESULTS, REPOSITORY


def test_the_papers_numbers_are_the_headline_ones_and_no_table_value_is_invented():
    found = paper.read(REPOSITORY / PAPER_RESULTS, defenses=DEFENSES)
    headline = {name: (row.accuracy, row.auc) for name, row in found.headline.items()}
    assert headline == {"undefended": (15.8, 14.0), "selena": (9.3, 10.0)}
    assert found.milliseconds_per_sample == 57
    assert set(found.tables) == {"cifar10", "cifar100", "svhn"}
    for rows in found.tables.values():
        assert set(rows) == set(DEFENSES)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("auc: [null, null]", "auc: [79.0, null]", "less than or equal to 1"),
        ("auc: [null, null]", "auc: [null]", "auc"),
        ("    selena: {test", "    sellena: {test", "sellena"),
        ("  svhn:", "  digits:", "digits"),
        ("57.0", ".inf", "milliseconds_per_sample"),
    ],
)
def test_mistakes_in_the_papers_numbers_are_named(tmp_path, old, new, complaint):
    text = (REPOSITORY / PAPER_RESULTS).read_text()
    assert old in text
    (tmp_path / "paper.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=r"paper\.yaml") as caught:
        paper.read(tmp_path / "paper.yaml", defenses=DEFENSES)
    assert complaint in str(caught.value)
