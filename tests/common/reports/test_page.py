"""The pages as a browser, a screen reader and a reader without either meet them."""

import base64
import csv
import html.parser
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from common.reports import drawings, page, report_page, report_tables, results, scores, sides, verdict
from common.reports.page import Grid, Images, Page, Points, Section
from common.reports.results import Beside, Results
from common.reports.tables import Table
from common.runtime.images import Labelled
from tests import browser
from tests.common.formula import images
from tests.common.reports.golden import evaluated, made

MEGABYTE = 1_000_000
HOSTILE = "<script>alert(1)</script>"


def beside(count: int, **changes) -> Beside:
    samples = Labelled((255 * images(count, 3, 8, 8)).to(torch.uint8), torch.arange(count) % 3)
    rows = {name: images(4, 3, 8, 8) for name in ("x", "noised", "denoised")}
    logs = {"the diffusion model": {"loss": np.array([2.0, 0.5])}}
    return Beside(samples=samples, indices=np.arange(count) + 100, purified=rows, logs=logs, **changes)


def of_golden(*, fenced=True, **changes) -> Results:
    """Of the golden evaluation, or of its classifier alone."""
    said = verdict.sentence(*made().values()) if fenced else "what an audit says"
    without, behind = (each.model_copy(update={"verdict": said}) for each in made().values())
    parts = sides.parts(without, behind if fenced else None)
    found = {name: side for name, side in sides.verdicts(evaluated()).items() if name in parts}
    count = len(found[sides.ALONE].test.observations)
    return results.of("a title", without, behind if fenced else None, found, beside(count, **changes))


@pytest.fixture(scope="module")
def rendered():
    return page.render(report_page.of(of_golden()))


class Tags(html.parser.HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_the_same_evaluation_gives_the_same_bytes_and_less_than_two_megabytes(rendered):
    assert page.render(report_page.of(of_golden())) == rendered
    assert len(rendered.encode()) < 2 * MEGABYTE


def test_the_verdict_stands_before_all_sections(rendered):
    said = of_golden().without.verdict
    assert rendered.index(said.split(";")[0].replace("'", "&#39;")) < rendered.index("<section")
    assert rendered.index("Read it with this in mind") < rendered.index("<section")


def test_nothing_is_fetched_and_nothing_runs(rendered):
    tags = Tags(rendered)
    addresses = [value for _, attributes in tags.found for name, value in attributes.items() if name in ("src", "href")]
    assert addresses and all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not tags.named("script") and not tags.named("link") and "url(" not in rendered
    policy = next(each["content"] for each in tags.named("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'") and "script-src" not in policy


def test_every_image_says_what_it_shows_in_numbers_and_every_table_what_it_is(rendered):
    tags = Tags(rendered)
    alts = [each["alt"] for each in tags.named("img")]
    assert all(alts) and any(re.search(r"AUC 0\.\d{3}", alt) for alt in alts)
    assert len(tags.named("caption")) == len(tags.named("table"))
    assert {each["scope"] for each in tags.named("th")} == {"col", "row"}
    assert tags.named("html") == [{"lang": "en"}] and len(tags.named("h1")) == 1


def test_a_classifier_without_fences_has_a_page_without_what_belongs_to_fences():
    alone = replace(of_golden(fenced=False), beside=Beside())
    shown = page.render(report_page.of(alone))
    assert "What an attacker gets" in shown and "paper&#39;s fence" not in shown
    for title in ("Most exposed images", "What the fence does to images", "Training", "Asking again"):
        assert f">{title}</h2>" not in shown
    tables = {table.caption: table for table in report_tables.tables(alone.without, None, alone.parts)}
    assert all(len(row) == len(table.header) for table in tables.values() for row in table.rows)


def test_texts_are_escaped():
    hostile = Page(HOSTILE, HOSTILE, [HOSTILE], [Section(HOSTILE, [HOSTILE, Points([HOSTILE]), TABLE, PICTURES])])
    assert "<script" not in page.render(hostile)


TABLE = Grid(Table(HOSTILE, [HOSTILE], [[HOSTILE]]), {HOSTILE: HOSTILE})
PICTURES = Images(HOSTILE, {HOSTILE: [(HOSTILE, HOSTILE)]})


def test_an_image_is_enlarged_by_whole_pixels_and_a_great_one_is_shrunk():
    def pixels(address):
        data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
        return imread(io.BytesIO(data))[:, :, :3]

    for small in images(2, 3, 8, 8), images(2, 1, 8, 8):
        expected = small[0].expand(3, 8, 8).permute(1, 2, 0).numpy()
        shown = pixels(page.image(small[0]))
        for corner in (0, 7):
            assert shown[corner::8, corner::8] == pytest.approx(expected, abs=0.5 / 255 + 1e-6)
    assert pixels(page.image(images(1, 3, 224, 224)[0])).shape == (page.MOST, page.MOST, 3)


def test_the_most_exposed_images_are_those_that_score_above_most_others():
    found = of_golden()
    side = found.sides[sides.ALONE]
    judged, member = side.attacks[side.best_attack], side.test.observations.membership
    values = judged.of_every_sample
    counted = {i: np.mean([values[i] > values[j] for j in np.flatnonzero(~member)]) for i in np.flatnonzero(member)}
    rows = next(block for block in drawings.exposed(found) if isinstance(block, Grid)).table.rows
    shares = [float(row[1].removesuffix(" %")) / 100 for row in rows]
    assert shares == pytest.approx(sorted(counted.values(), reverse=True)[: len(rows)], abs=1e-3)
    place = int(rows[0][0].split(",")[0]) - 100
    assert counted[place] == pytest.approx(shares[0], abs=1e-3)


def test_scores_of_every_sample_are_told_with_where_it_is_found():
    found = of_golden()
    rows = list(csv.DictReader(io.StringIO(scores.table(found.sides, found.beside))))
    judged = [row for row in rows if row["fence"] == sides.ALONE]
    side = found.sides[sides.ALONE]
    assert len(rows) == len(found.sides) * len(judged) and {row["set"] for row in rows} == {"train", "test"}
    assert [float(row["loss"]) for row in judged] == side.attacks["loss"].scored.scores.tolist()
    assert [row["member"] == "1" for row in judged] == side.test.observations.membership.tolist()
    assert [row["index"] for row in judged] == [str(100 + place) for place in range(len(judged))]


def test_a_sample_without_a_score_has_an_empty_cell():
    found = of_golden()
    side = found.sides[sides.ALONE]
    said = np.arange(len(side.test.observations)) != 1
    kept = side.attacks["loss"]
    some = replace(kept, scored=type(kept.scored)(*(part[said] for part in kept.scored)), said=said)
    table = scores.table({sides.ALONE: replace(side, attacks={"loss": some})}, Beside())
    assert [row["loss"] == "" for row in csv.DictReader(io.StringIO(table))] == (~said).tolist()


@pytest.fixture(scope="module")
def opened():
    if browser.PROGRAM is None:
        pytest.skip("there is no Chromium")
    with browser.opened() as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_has_nothing_to_complain_and_never_scrolls_sideways(rendered, opened, tmp_path, width, scheme):
    path = tmp_path / "report.html"
    path.write_text(rendered)
    opened.show(path, width=width, scheme=scheme)
    assert opened.complaints() == []
    assert [url for url in opened.asked_for() if not url.startswith("data:")] == [path.as_uri()]
    assert opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert opened.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert len(opened.named("image")) == len(Tags(rendered).named("img")) and all(opened.named("image"))
    ground, ink = opened.evaluate(COLOURS)
    assert contrast(ground, ink) > 7 and (ground > ink) == (scheme == "light")


def test_it_is_printed_in_whole(rendered, opened, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(rendered)
    opened.show(path, width=794, media="print", scheme="dark")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.evaluate("[...document.querySelectorAll('.wide')].every(each => each.scrollWidth <= innerWidth)")
    assert opened.printed().startswith(b"%PDF-")


def test_the_browser_tells_what_it_is_to_tell(opened, tmp_path):
    """Else the tests above could not fail."""
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://127.0.0.1:9/'><p style='width:900px'>x</p><script>console.error('bad')</script>")
    opened.show(path, width=360)
    assert opened.complaints() and "http://127.0.0.1:9/" in opened.asked_for()
    assert not opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


COLOURS = """["backgroundColor", "color"].map(name => {
    const parts = getComputedStyle(document.body)[name].match(/\\d+/g).map(part => part / 255);
    const [r, g, b] = parts.map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
})"""
"""Relative luminances of ground and ink (WCAG 2.2)."""


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
