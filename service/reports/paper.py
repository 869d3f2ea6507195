"""A report as a PDF (A4) that an auditor can file."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    HRFlowable,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)
from reportlab.platypus import Image as Drawing

from service.errors import StoreError
from service.reports.blocks import Block, Facts, Grid, Literal, Picture, Report, Section, Text

_INK, _QUIET, _LINE, _PALE = (HexColor(c) for c in ("#181c21", "#5c636b", "#dfe3e7", "#f6f7f9"))
_ACCENT = HexColor("#0072b2")
_MARGIN, _FOOT = 20 * mm, 22 * mm
#: reportlab keeps six points free on either side of what it sets.
_WIDTH = A4[0] - 2 * _MARGIN - 12
_NAMES = 44 * mm
#: Lines that are not parted by the end of a page.
_TOGETHER = 12
#: Pictures are at most this share of a page's height.
_TALLEST = 0.6
_SANS, _BOLD, _MONO = "Glassline-Sans", "Glassline-Bold", "Glassline-Mono"
_FILES = {_SANS: "DejaVuSans", _BOLD: "DejaVuSans-Bold", _MONO: "DejaVuSansMono"}


def pdf(report: Report) -> bytes:
    """The report on A4, each page with the record's id and its number."""
    _register()
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out, pagesize=A4, leftMargin=_MARGIN, rightMargin=_MARGIN, topMargin=_MARGIN,
        bottomMargin=_FOOT, title=f"{report.title} {report.record_id}", author="Glassline",
        subject=_shown(report.verdict, _SANS), lang="en",
    )  # fmt: skip
    story = _head(report)
    for section in report.sections:
        story += _section(section)
    document.build(story, canvasmaker=_numbered(report))
    return out.getvalue()


def _head(report: Report) -> list[Flowable]:
    stance = Table([[_paragraph(report.stance, _style(10))]], colWidths=[_WIDTH])
    stance.setStyle(
        TableStyle([
            ("BACKGROUND", (0, 0), (-1, -1), _PALE), ("BOX", (0, 0), (-1, -1), 0.5, _LINE),
            ("LINEBEFORE", (0, 0), (0, -1), 3, _ACCENT), ("LEFTPADDING", (0, 0), (-1, -1), 8),
        ])
    )  # fmt: skip
    return [
        _paragraph(report.title, _style(9.5, _QUIET)),
        _paragraph(report.verdict, _style(19, font=_BOLD, after=7)),
        stance,
        Spacer(1, 5),
        _paragraph(f"Record {report.record_id}", _style(8.5, _QUIET, _MONO)),
        HRFlowable(_WIDTH, 1.2, color=_INK, spaceBefore=5, spaceAfter=2),
    ]


def _section(section: Section) -> list[Flowable]:
    heading = _paragraph(section.title, _style(12.5, font=_BOLD, before=13, after=5))
    blocks = [flowable for block in section.blocks for flowable in _block(block)]
    if not blocks:
        return [heading]
    # A heading is never the last of a page.
    if isinstance(blocks[0], Table):
        return [CondPageBreak(40 * mm), heading, *blocks]
    return [KeepTogether([heading, blocks[0]]), *blocks[1:]]


def _block(block: Block) -> list[Flowable]:
    if isinstance(block, Text):
        return [_paragraph(block.text, _style(9.5, _QUIET if block.quiet else _INK, after=4))]
    if isinstance(block, Facts):
        return [_facts(block), Spacer(1, 6)]
    if isinstance(block, Grid):
        return [_grid(block), Spacer(1, 6)]
    if isinstance(block, Picture):
        return [KeepTogether(_picture(block))]
    literal = _literal(block)
    short = block.text.count("\n") < _TOGETHER
    return [KeepTogether(literal) if short else literal, Spacer(1, 6)]


def _facts(block: Facts) -> Table:
    rows = []
    for fact in block.rows:
        value: list[Flowable] = [_paragraph(fact.value, _style(8.3, font=_MONO) if fact.literal
                                            else _style(9))]  # fmt: skip
        if fact.note:
            value.append(_paragraph(fact.note, _style(7.8, _QUIET)))
        rows.append([_paragraph(fact.name, _style(9)), value])
    return _lined(rows, [_NAMES, _WIDTH - _NAMES])


def _grid(block: Grid) -> Table:
    header = [_paragraph(name, _style(8.5, _QUIET)) for name in block.header]
    rows = [[_paragraph(cell, _style(8.5)) for cell in row] for row in block.rows]
    # As wide as what stands in them, within reason.
    longest = [
        max(
            len(block.header[at]) + 2,
            min(36, max(len(str(row[at])) for row in [block.header, *block.rows])),
        )
        for at in range(len(block.header))
    ]
    widths = [_WIDTH * share / sum(longest) for share in longest]
    return _lined([header, *rows], widths, header=True)


def _lined(rows: list[list[Any]], widths: list[float], *, header: bool = False) -> Table:
    table = Table(rows, colWidths=widths, repeatRows=1 if header else 0, hAlign="LEFT")
    table.setStyle(
        TableStyle([
            ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
            ("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 8),
            ("TOPPADDING", (0, 0), (-1, -1), 2.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
        ])
    )  # fmt: skip
    return table


def _picture(block: Picture) -> list[Flowable]:
    image = Image.open(io.BytesIO(block.png)).convert("RGB")
    if block.pixelated:  # readers of PDF smooth what they enlarge
        image = image.resize((image.width * 12, image.height * 12), Image.Resampling.NEAREST)
    width = _WIDTH * block.width
    height = width * image.height / image.width
    tallest = (A4[1] - _MARGIN - _FOOT) * _TALLEST
    if height > tallest:
        width, height = width * tallest / height, tallest
    buffer = io.BytesIO()
    image.save(buffer, "png")
    buffer.seek(0)
    drawing = Drawing(buffer, width, height, hAlign="LEFT")
    return [
        Spacer(1, 4), drawing, _paragraph(block.caption, _style(8, _QUIET, before=3, after=6))
    ]  # fmt: skip


def _literal(block: Literal) -> Table:
    lines = [
        [Paragraph(_marked(line) or "&nbsp;", _style(7.8, font=_MONO))]
        for line in block.text.split("\n")
    ]
    table = Table(lines, colWidths=[_WIDTH], hAlign="LEFT")
    last = len(lines) - 1
    table.setStyle(
        TableStyle([
            ("BACKGROUND", (0, 0), (-1, -1), _PALE), ("BOX", (0, 0), (-1, -1), 0.5, _LINE),
            ("TOPPADDING", (0, 0), (-1, -1), 0.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 0.5),
            ("TOPPADDING", (0, 0), (-1, 0), 5), ("BOTTOMPADDING", (0, last), (-1, last), 6),
        ])
    )  # fmt: skip
    return table


def _marked(line: str) -> str:
    """A line whose leading spaces stay."""
    bare = line.lstrip(" ")
    return "&nbsp;" * (len(line) - len(bare)) + escape(_shown(bare, _MONO))


def _paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    font = style.fontName
    lines = [
        _marked(line) if font == _MONO else escape(_shown(line, font)) for line in text.split("\n")
    ]
    return Paragraph("<br/>".join(lines), style)


def _style(
    size: float, colour: Any = _INK, font: str = _SANS, before: float = 0, after: float = 0
) -> ParagraphStyle:
    return ParagraphStyle(
        "own", fontName=font, fontSize=size, leading=size * 1.35, textColor=colour,
        spaceBefore=before, spaceAfter=after, alignment=TA_LEFT, splitLongWords=True,
    )  # fmt: skip


def _shown(text: str, font: str) -> str:
    """The text; what the font has no glyph for is told by its number, and nothing is left out."""
    glyphs = pdfmetrics.getFont(font).face.charToGlyph
    return "".join(
        one if one == "\n" or ord(one) in glyphs else f"[U+{ord(one):04X}]" for one in text
    )


def _numbered(report: Report) -> type[Canvas]:
    """A canvas that knows at the end how many pages there are."""

    class Numbered(Canvas):  # type: ignore[misc] # the library is untyped
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, 1):
                self.__dict__.update(page)
                self.setFont(_SANS, 7.5)
                self.setFillColor(_QUIET)
                self.drawString(_MARGIN + 6, 12 * mm, f"Glassline, record {report.record_id}, "
                                f"report made {report.made_at}")  # fmt: skip
                place = f"{number} of {len(self._pages)}"
                self.drawRightString(A4[0] - _MARGIN - 6, 12 * mm, place)
                super().showPage()
            super().save()

    return Numbered


@lru_cache(maxsize=1)
def _register() -> None:
    """The fonts that matplotlib brings: they know Latin, Greek, Cyrillic, and many signs.

    Raises:
        StoreError: they are not there.
    """
    package = find_spec("matplotlib")
    folders = (package.submodule_search_locations or []) if package is not None else []
    for name, file in _FILES.items():
        found = [p for f in folders if (p := Path(f, f"mpl-data/fonts/ttf/{file}.ttf")).is_file()]
        if not found:
            raise StoreError(f"report: the font {file} is missing; install matplotlib again.")
        pdfmetrics.registerFont(TTFont(name, str(found[0])))
