"""Tables written into a document, between two marks that name them."""

from pathlib import Path

from common.runtime import storage
from common.runtime.errors import UserError


def put(document: Path, text: str, *, name: str) -> None:
    """Replace what stands between the marks of that name. Raises UserError where they are not there."""
    begin, end = (f"<!-- {name}: {side} -->" for side in ("begin", "end"))
    before, first, rest = document.read_text().partition(begin)
    _, last, after = rest.partition(end)
    if not (first and last):
        raise UserError(f"{document}: has no lines {begin} and {end} to write between")
    storage.write_text(document, f"{before}{begin}\n\n{text}\n\n{end}{after}")
