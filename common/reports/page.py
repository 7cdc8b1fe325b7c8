"""One page of HTML that needs nothing else: no script, no file beside it, no network."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jinja2
import matplotlib
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.image import imsave

from common.reports.tables import Table

NAMELESS: Any = {"Date": None, "Creator": None}  # equal content, equal bytes
LEAST, MOST = 64, 96  # pixels of an embedded image's side: smaller ones are enlarged, greater ones shrunk


@dataclass(frozen=True)
class Points:
    """A list, each entry one sentence or two."""

    kind: ClassVar[str] = "points"
    entries: Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table of cells.

    links:  from the text of a row's first cell to another page
    """

    kind: ClassVar[str] = "grid"
    table: Table
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A drawing as a data: address, and the same in words and numbers for those who do not see it."""

    kind: ClassVar[str] = "picture"
    data: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Images:
    """Rows of images, each with its name; an image is a data: address with what it shows."""

    kind: ClassVar[str] = "images"
    caption: str
    rows: Mapping[str, Sequence[tuple[str, str]]]


Block = str | Points | Grid | Picture | Images
"""A text is a paragraph."""


@dataclass(frozen=True)
class Section:
    """One without blocks is left out of the page."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        return "-".join(re.findall(r"\w+", self.title.lower()))


@dataclass(frozen=True)
class Page:
    """verdict: the first sentence; caveats: what stands below it, since it must not be read without."""

    title: str
    verdict: str
    caveats: Sequence[str]
    sections: Sequence[Section]


def render(page: Page) -> str:
    """The page as HTML; every text in it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("common.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html").render(page=page)


def drawn(figure: Figure, *, alt: str, caption: str) -> Picture:
    """A figure as SVG: the same figure gives the same bytes."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "report", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata=NAMELESS)
    figure.set_layout_engine("none")  # it is laid out: doing it anew for a PNG would take as long as the drawing
    return Picture(_address(file.getvalue(), "image/svg+xml"), alt, caption)


def image(pixels: torch.Tensor) -> str:
    """An image [C, H, W] in [0, 1] as PNG, enlarged by nearest neighbours so that its pixels are seen."""
    size, one = max(pixels.shape[1:]), pixels[None].float().cpu()
    if size < LEAST:
        one = F.interpolate(one, scale_factor=-(-LEAST // size), mode="nearest")
    elif size > MOST:
        one = F.interpolate(one, scale_factor=MOST / size, mode="area")
    coloured = (255 * one[0].clamp(0, 1)).round().to(torch.uint8).expand(3, -1, -1)
    file = io.BytesIO()
    imsave(file, coloured.permute(1, 2, 0).numpy(), format="png", metadata={"Software": ""})
    return _address(file.getvalue(), "image/png")


def _address(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
