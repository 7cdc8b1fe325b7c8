"""Tables of text cells, for a terminal, as Markdown and for LaTeX."""

from collections.abc import Sequence

Row = Sequence[str]


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


def latex(header: Row, rows: Sequence[Row]) -> str:
    """A tabular of the package booktabs."""

    def line(row: Row) -> str:
        return " & ".join("".join(_LATEX.get(sign, sign) for sign in cell) for cell in row) + r" \\"

    columns = "l" + "r" * (len(header) - 1)
    above = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", line(header), r"\midrule"]
    return "\n".join([*above, *map(line, rows), r"\bottomrule", r"\end{tabular}"])


STYLES = {"text": text, "markdown": markdown, "latex": latex}
