"""Where the paper's items go: docs/paper/ITEM.md with pictures and LaTeX tables beside it, and the index of all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.paper import ITEMS
from common.paper.interface import Item, Made
from common.reports import pictures, tables
from common.runtime import config, storage
from common.runtime.config import Strict
from common.runtime.errors import UserError

INDEX = "index.json"
ABOVE = """\
# The paper's tables and figures

Each by `bash reproduce.sh ITEM --dataset D`; `--dry-run` shows what there is to train. The paper's numbers are of
CIFAR-10, CIFAR-100 and SVHN and stand in `common/paper_results.yaml`; each page says which of them, how its attacks
were judged and what differs. All items of a dataset are of one set of models, seed 0. Trained on another machine, which
rounds otherwise, models are others: those of `docs/results.md` are not these.

AUCs that differ by less than 5 points are alike on a dataset of some hundred samples, as digits is: the 95 % interval
of one such AUC reaches 3 to 5 points to each side."""


class Entry(Strict):
    """One item of some datasets, as the index has it."""

    item: str
    datasets: str
    title: str
    paper: str
    ours: str
    says: str


@dataclass(frozen=True)
class Place:
    """Where an item of some datasets goes; other datasets have files of their own."""

    folder: Path
    item: str
    datasets: Sequence[str]

    @property
    def name(self) -> str:
        return self.item if self.datasets == ("digits",) else f"{self.item}-{'-'.join(self.datasets)}"

    @property
    def page(self) -> Path:
        return self.folder / f"{self.name}.md"


def write(place: Place, item: Item, made: Made, *, command: str, about: Sequence[str] = ()) -> None:
    """Pictures and tables first, then the page that shows them, then the index.

    about:  of each dataset, sentences on its settings and on how many samples it has
    """
    parts = [f"# {item.title}", f"On {' and '.join(place.datasets)}, by `{command}`. {_sentence(made.says)}"]
    parts.append(f"- the paper ({item.of}): {made.paper}\n- here: {made.ours}")
    for number, table in enumerate(made.tables, start=1):
        parts += [table.caption, tables.markdown(table.header, table.rows)]
        file = f"{place.name}{f'-{number}' if len(made.tables) > 1 else ''}.tex"
        storage.write_text(place.folder / file, tables.latex(table.header, table.rows) + "\n")
        parts.append(f"As a LaTeX tabular (booktabs): [{file}]({file})")
    for name, figure in made.figures.items():
        file = f"{place.name}{f'-{name}' if name else ''}.png"
        pictures.save(figure, place.folder / file)
        parts.append(f"![{item.title}{f', {name}' if name else ''}]({file})")
    parts.append("How it was made, and what differs from the paper beside the dataset:")
    parts.append("\n".join(f"- {note}" for note in [*made.notes, *about]))
    storage.write_text(place.page, "\n\n".join(parts) + "\n")
    _enter(place, item, made)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _enter(place: Place, item: Item, made: Made) -> None:
    entry = Entry(
        item=place.item,
        datasets=" ".join(place.datasets),
        title=item.title,
        paper=made.paper,
        ours=made.ours,
        says=made.says,
    )
    found = [each for each in read(place.folder) if (each.item, each.datasets) != (entry.item, entry.datasets)]
    order = list(ITEMS)
    entries = sorted([*found, entry], key=lambda each: (order.index(each.item), each.datasets))
    rows = []
    for each in entries:
        page = Place(place.folder, each.item, tuple(each.datasets.split())).page.name
        rows.append([f"[{each.title}]({page})", each.datasets, each.paper, each.ours, _sentence(each.says)])
    table = tables.markdown(["item", "dataset", "the paper", "here", "in a sentence"], rows)
    storage.write_json(place.folder / INDEX, [each.model_dump() for each in entries])
    storage.write_text(place.folder / "README.md", f"{ABOVE}\n\n{table}\n")


def require_place(folder: Path) -> None:
    """Raise UserError where pages would write over what is not theirs, or the index is damaged."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder: give another --out")
    if (folder / "README.md").exists() and not (folder / INDEX).is_file():
        raise UserError(
            f"{folder}/README.md is no index of the paper's items, and would be written over: another --out"
        )
    read(folder)


def read(folder: Path) -> list[Entry]:
    """What the index has. Raises UserError where it is damaged."""
    path = folder / INDEX
    if not path.is_file():
        return []
    try:
        found = storage.read_json(path)
        entries = [config.parse(each, Entry, source=str(path)) for each in found]
    except UserError:
        raise
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not readable JSON ({error}): delete it, and make the items again") from error
    unknown = [each.item for each in entries if each.item not in ITEMS]
    if unknown:
        raise UserError(f"{path}: names unknown items ({', '.join(unknown)}): delete it, and make the items again")
    return entries
