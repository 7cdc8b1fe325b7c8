from common.reports import tables
from common.reports.tables import Table


def test_columns_are_as_wide_as_their_widest_cell_and_lines_have_no_blanks_at_the_end():
    assert tables.text(("a", "long header"), [("wide cell", "b"), ("c", "")]) == (
        "a          long header\nwide cell  b\nc"
    )


def test_markdown_escapes_bars():
    assert tables.markdown(("a", "b"), [("1|2", "")]) == "| a | b |\n|---|---|\n| 1\\|2 |  |"


def test_nothing_in_a_cell_or_caption_is_a_command_of_latex():
    said = tables.floats([Table("50 % of a_b", ("", "x & y"), [("[0.1, 0.2]", r"\input{x}"), ("*", "~^#$")])])
    assert said == (
        "% needs the package booktabs\n\n"
        "\\begin{table}\n\\centering\n\\caption{50 \\% of a\\_b}\n"
        "\\begin{tabular}{lr}\n\\toprule\n & x \\& y \\\\\n\\midrule\n"
        "{[0.1, 0.2]} & \\textbackslash{}input\\{x\\} \\\\\n{*} & \\textasciitilde{}\\textasciicircum{}\\#\\$ \\\\\n"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def test_signs_that_latex_would_print_as_others_are_mathematics():
    assert tables.in_latex("76.2 -> 64.8 | <1 or >2") == r"76.2 $\to$ 64.8 $|$ $<$1 or $>$2"


def test_titles_and_prose_of_each_style():
    assert tables.title("a_b", style="latex") == r"\subsection*{a\_b}" and tables.title("a", style="text") == "a"
    assert tables.title("a", style="markdown", depth=4) == "#### a"
    assert tables.prose("1 %", style="latex") == r"1 \%" and tables.prose("1 %", style="markdown") == "1 %"
