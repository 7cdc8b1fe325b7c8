from common.reports import tables


def test_columns_are_as_wide_as_their_widest_cell_and_lines_have_no_blanks_at_the_end():
    assert tables.text(("a", "long header"), [("wide cell", "b"), ("c", "")]) == (
        "a          long header\nwide cell  b\nc"
    )


def test_markdown_escapes_bars():
    assert tables.markdown(("a", "b"), [("1|2", "")]) == "| a | b |\n|---|---|\n| 1\\|2 |  |"
