"""One page over all defences of a dataset, which leads to the page of each."""

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from common.evaluation.record import Report, UnderProtocol
from common.reports import cells, charts, over_seeds, page, reading, shadow_summary, sides
from common.reports.cells import NOTHING
from common.reports.page import Block, Grid, Page, Section
from common.reports.pictures import WIDTH
from common.reports.reading import Key, Reports
from common.reports.tables import Table
from common.runtime import ownership, storage
from common.runtime.errors import UserError
from common.runtime.paths import PAGE, DatasetFolder
from common.runtime.subject import Subject

CAVEATS = (
    "Each row is one classifier, trained once: another draw of training images gives other numbers.",
    "The strongest attack is known in hindsight, so it looks a little too strong; each page says by how much.",
    "An average over images says nothing of the most vulnerable ones.",
)
Rows = Mapping[Subject, Mapping[str, UnderProtocol]]
"""Of each defence the sides that were evaluated: see sides.py."""


def write(folder: DatasetFolder, *, defenses: Collection[str]) -> Path:
    """Write the page of all results of a dataset, defences in the given order, and return its path.

    Raises UserError where there is no result, or one is damaged.
    """
    reports = reading.read(folder, defenses=defenses)
    if not reports:
        raise UserError(
            f"no results of {folder.name} yet: in {folder.name}/evaluate_MIAs/ "
            "`bash evaluate_mia.sh --defense undefended`"
        )
    target = folder.all_results / PAGE
    with ownership.owned(target):
        storage.write_text(target, page.render(_page(folder, reports, defenses)))
    return target


def _page(folder: DatasetFolder, reports: Reports, defenses: Collection[str]) -> Page:
    rows = {subject: _sides(reports, subject) for subject in reading.subjects(reports, defenses=defenses)}
    sections: dict[str, list[Block]] = {
        "All defences": [Grid(_table(rows, reports), _links(folder, reports)), *_chart(rows)],
        "Over several seeds": list(_over_seeds(folder, defenses)),
        "By shadow models": list(_by_shadows(folder, defenses)),
        "Provenance": [Grid(_provenance(reports))],
    }
    return Page(
        title=f"Membership inference: all defences of {folder.name}",
        verdict=_verdict(folder.name, rows),
        caveats=[*CAVEATS, *reading.torn(reports)],
        sections=[Section(title, blocks) for title, blocks in sections.items()],
    )


def _sides(reports: Reports, subject: Subject) -> dict[str, UnderProtocol]:
    without, fenced = (reports.get(Key(subject, diffence)) for diffence in (False, True))
    first = without or fenced
    assert first is not None
    found = sides.parts(first, fenced)
    return found if without is not None else {name: part for name, part in found.items() if name != sides.ALONE}


def _verdict(dataset: str, rows: Rows) -> str:
    """The range over the defences, by side."""
    said = []
    for name in _names(rows):
        aucs = [100 * of[name].best.auc for of in rows.values() if name in of]
        spread = f"{min(aucs):.0f}" if round(min(aucs)) == round(max(aucs)) else f"{min(aucs):.0f} to {max(aucs):.0f}"
        with_it = name if name == sides.ALONE else f"with the {name}"
        said.append(f"{spread} of 100 cases {with_it}")
    ranges = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    count = f"{len(rows)} defences" if len(rows) > 1 else "one defence"
    return (
        f"Shown one training image and one other image of {dataset}, the strongest attack on each of {count} picks the "
        f"training image in {ranges}, where a coin gets 50."
    )


def _names(rows: Rows) -> list[str]:
    """Every side that there is, the classifier without a fence first."""
    every = [sides.ALONE, *sides.FENCES.values()]
    return [name for name in dict.fromkeys(every) if any(name in of for of in rows.values())]


def _named(subject: Subject) -> str:
    return subject.defense if subject.is_default else str(subject)


def _table(rows: Rows, reports: Reports) -> Table:
    names = _names(rows)
    header = ["defence", "accuracy on new images"]
    header += [f"{what}, {name}" for name in names for what in ("AUC", "attack")]
    found = []
    for subject, of in rows.items():
        accuracy = next(report.accuracy.test for key, report in reports.items() if key.subject == subject)
        row = [_named(subject), f"{accuracy:.3f}"]
        for name in names:
            part = of.get(name)
            row += [NOTHING, NOTHING] if part is None else [cells.auc(part.best), part.best.attack or NOTHING]
        found.append(row)
    caption = "The strongest attack on each defence: its AUC with the 95 % interval; 0.5 is guessing."
    return Table(caption, header, found)


def _links(folder: DatasetFolder, reports: Reports) -> dict[str, str]:
    """By what the table names, the pages that there are."""
    homes = {_named(key.subject): folder.results(key.subject, diffence=key.diffence) for key in reports}
    return {
        name: (home / PAGE).relative_to(folder.all_results).as_posix()
        for name, home in homes.items()
        if (home / PAGE).is_file()
    }


def _chart(rows: Rows) -> list[Block]:
    nothing = (math.nan, math.nan)
    values: dict[str, list[float]] = {}
    ends: dict[str, list[tuple[float, float]]] = {}
    for name in _names(rows):
        best = [of[name].best if name in of else None for of in rows.values()]
        values[name] = [math.nan if each is None else each.auc for each in best]
        intervals = [None if each is None else each.auc_ci for each in best]
        ends[name] = [nothing if each is None else (each[0], each[1]) for each in intervals]
    label = "AUC of the strongest attack"
    names = [_named(subject) for subject in rows]
    figure = charts.bars(names, values, marks={}, label=label, floor=0.5, ends=ends, width=WIDTH)
    said = "; ".join(
        f"{_named(subject)}: " + ", ".join(f"{part.best.auc:.3f} {name}" for name, part in of.items())
        for subject, of in rows.items()
    )
    caption = "The strongest attack on each defence; lines are 95 % intervals. Bars begin at guessing."
    return [page.drawn(figure, alt=f"AUC of the strongest attack. {said}.", caption=caption)]


def _over_seeds(folder: DatasetFolder, defenses: Collection[str]) -> Iterator[Block]:
    found = over_seeds.read(folder, defenses)
    if found:
        yield Grid(Table(over_seeds.READING, over_seeds.HEADER, over_seeds.rows(found)))


def _by_shadows(folder: DatasetFolder, defenses: Collection[str]) -> Iterator[Block]:
    found = shadow_summary.read(folder, order=list(defenses))
    if found:
        rows = [shadow_summary.row(report) for report in found.values()]
        yield Grid(Table(shadow_summary.READING, shadow_summary.HEADER, rows))
        pages = [home / PAGE for home in found if (home / PAGE).is_file()]
        links = {path.parent.name: path.relative_to(folder.all_results).as_posix() for path in pages}
        if links:
            yield Grid(Table("The pages of these audits.", ["audit"], [[name] for name in links]), links)


def _provenance(reports: Reports) -> Table:
    header = ["result", "seed", "version", "torch", "N", "T", "evaluation"]
    rows = [[_of(key), *_made(report)] for key, report in reports.items()]
    return Table("What each row was made with; pages have the rest.", header, rows)


def _of(key: Key) -> str:
    return f"{_named(key.subject)}{', fenced' if key.diffence else ''}"


def _made(report: Report) -> list[str]:
    fence = report.config.get("diffence", {})
    values = (
        report.seed,
        report.versions.get("diffence"),
        report.versions.get("torch"),
        fence.get("num_candidates"),
        fence.get("step"),
        report.evaluation,
    )
    return [NOTHING if value is None else str(value) for value in values]
