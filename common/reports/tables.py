"""Tables of text cells, for a terminal, as Markdown and for LaTeX."""

from collections.abc import Sequence
from typing import NamedTuple

from common.runtime.modes import TableStyle

Row = Sequence[str]


class Table(NamedTuple):
    """Cells of text, and a sentence that says what they are."""

    caption: str
    header: Row
    rows: Sequence[Row]


def text(header: Row, rows: Sequence[Row]) -> str:
    """Columns as wide as their widest cell, two spaces between them."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    return "\n".join(line.rstrip() for line in lines)


def markdown(header: Row, rows: Sequence[Row]) -> str:
    """A pipe table; a bar in a cell is escaped."""
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in (header, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "±": r"$\pm$", "\\": r"\textbackslash{}"}
_LATEX |= {"{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "…": r"\ldots{}"}
_LATEX |= {"<": "$<$", ">": "$>$", "|": "$|$"}  # which LaTeX's first encoding, OT1, prints as other signs


def in_latex(text: str) -> str:
    """A text in which nothing is a command of LaTeX; ``->`` is an arrow."""
    return r"$\to$".join("".join(_LATEX.get(sign, sign) for sign in part) for part in text.split("->"))


def latex(header: Row, rows: Sequence[Row]) -> str:
    """A tabular of the package booktabs."""

    def line(row: Row) -> str:
        # in braces, where a cell would be taken for an option of the line before
        return (
            " & ".join(f"{{{in_latex(cell)}}}" if cell[:1] in ("[", "*") else in_latex(cell) for cell in row) + r" \\"
        )

    columns = "l" + "r" * (len(header) - 1)
    above = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", line(header), r"\midrule"]
    return "\n".join([*above, *map(line, rows), r"\bottomrule", r"\end{tabular}"])


def floats(given: Sequence[Table]) -> str:
    """Tables for `\\input` into a document in LaTeX, each a float with its caption."""
    parts = []
    for table in given:
        caption = rf"\caption{{{in_latex(table.caption)}}}"
        lines = [r"\begin{table}", r"\centering", caption, latex(table.header, table.rows), r"\end{table}"]
        parts.append("\n".join(lines))
    return "\n\n".join(["% needs the package booktabs", *parts]) + "\n"


def title(text: str, *, style: TableStyle, depth: int = 3) -> str:
    """A heading above a table; ``depth`` is Markdown's."""
    if style == "latex":
        return rf"\{'sub' * (depth - 2)}section*{{{in_latex(text)}}}"
    return f"{'#' * depth} {text}" if style == "markdown" else text


def prose(text: str, *, style: TableStyle) -> str:
    """A paragraph between tables."""
    return in_latex(text) if style == "latex" else text


STYLES = {"text": text, "markdown": markdown, "latex": latex}
