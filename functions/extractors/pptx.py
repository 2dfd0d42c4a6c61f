"""PPTX: slides in their order, straight from the zip, element by element (packages.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

from lxml import etree

from common.records import Page
from functions.extractors import Options, packages
from functions.extractors.tables import MAX_SPAN, Row, with_tables
from functions.pieces import Piece, in_records

_MAIN = "ppt/presentation.xml"
_TITLES = {"ctrTitle": 1, "title": 2}
# What stands at the foot of every slide, and the picture of the slide on its notes.
_RUNNING = frozenset(("sldNum", "dt", "ftr", "hdr", "sldImg"))
# Placeholders whose paragraphs have bullets, unless they say that they have none.
_LISTS = frozenset(("body", "obj"))
_YES = frozenset(("1", "true"))


def extract(path: Path, options: Options) -> Iterator[Page]:
    """A page for each slide: its title, its texts and tables, its speaker notes.

    Raises `Rejected` with FILE_DAMAGED, PASSWORD_PROTECTED, INFLATES_TOO_LARGE or TOO_MANY_PAGES.
    """
    with packages.opened(path, options, "a PowerPoint presentation") as archive:
        slides = _slides(archive)
        options.demand(pages=len(slides))
        for number, slide in enumerate(slides, start=1):
            yield from in_records(_slide(archive, slide), number)


def _slides(archive: ZipFile) -> list[str]:
    main = packages.main_part(archive, _MAIN)
    parts = {part.id: part.target for part in packages.relationships(archive, main) if part.kind == "slide"}
    with archive.open(main) as file:
        ids = [packages.relation(entry) for _, entry in packages.elements(file, "{*}sldId", starts=False)]
    return [parts[name] for name in ids if name in parts]


def _slide(archive: ZipFile, slide: str) -> Iterator[Piece]:
    pieces = list(with_tables(_items(archive, slide)))
    # Drawn last or first, the title is read first.
    yield from (piece for piece in pieces if piece.kind == "heading")
    yield from (piece for piece in pieces if piece.kind != "heading")
    for part in packages.relationships(archive, slide):
        if part.kind == "diagramData":
            yield from with_tables(_items(archive, part.target))
        elif part.kind == "notesSlide":
            yield from with_tables(_items(archive, part.target, is_list=False))


def _items(archive: ZipFile, part: str, *, is_list: bool = True) -> Iterator[Piece | Row]:
    state = _State(is_list)
    skipped = 0
    with archive.open(part) as file:
        for starts, element in packages.elements(file):
            if element.tag == packages.FALLBACK:
                skipped += 1 if starts else -1
            if skipped:
                continue
            name = packages.local(element)
            if starts:
                state.open(name, element)
            elif item := state.close(name, element):
                yield item
            if not starts and name in ("p", "tr", "sp"):
                packages.forget(element)


@dataclass(slots=True)
class _Paragraph:
    texts: list[str] = field(default_factory=list)
    bullet: bool | None = None
    numbered: bool = False
    level: int = 0


class _State:
    """The shape, table and paragraph that are open; in a presentation none lies in another of its kind."""

    def __init__(self, is_list: bool) -> None:
        self._is_list = is_list
        self._shape = ""
        self._paragraph: _Paragraph | None = None
        self._counts: dict[int, int] = {}
        self._row: list[str] = []
        self._cell: list[str] | None = None
        self._span = 1
        self._tables = 0
        self._is_header = False

    def open(self, name: str, element: etree._Element) -> None:
        match name:
            case "sp" | "graphicFrame":
                self._shape, self._counts = "", {}
            case "ph":
                self._shape = element.get("type", "obj")
            case "p":
                self._paragraph = _Paragraph()
            case "tbl":
                self._tables, self._is_header = self._tables + 1, False
            case "tblPr":
                self._is_header = element.get("firstRow") in _YES
            case "tr":
                self._row = []
            case "tc":
                self._cell = []
                span = element.get("gridSpan", "1")
                self._span = min(int(span), MAX_SPAN) if span.isascii() and span[:4].isdigit() and len(span) < 5 else 1

    def close(self, name: str, element: etree._Element) -> Piece | Row | None:
        """What is finished with this element."""
        if name == "p":
            return self._end_paragraph()
        if name == "tc" and self._cell is not None:
            self._end_cell(" ".join(filter(None, self._cell)), continues=element.get("hMerge") in _YES)
        elif name == "tr":
            is_header, self._is_header = self._is_header, False
            return Row(self._tables or 1, self._row, is_header)
        elif (paragraph := self._paragraph) is not None:
            _note(paragraph, name, element)
        return None

    def _end_paragraph(self) -> Piece | None:
        paragraph, self._paragraph = self._paragraph, None
        if paragraph is None:
            return None
        text = "\n".join(filter(None, (" ".join(line.split()) for line in "".join(paragraph.texts).split("\n"))))
        if self._cell is not None:
            self._cell.append(" ".join(text.split("\n")))
            return None
        if not text or self._shape in _RUNNING:
            return None
        if level := _TITLES.get(self._shape):
            return Piece(" ".join(text.split("\n")), "heading", level)
        mark = self._mark(paragraph)
        return Piece(mark + text, "item" if mark else "paragraph")

    def _mark(self, paragraph: _Paragraph) -> str:
        if paragraph.numbered:
            count = self._counts[paragraph.level] = self._counts.get(paragraph.level, 0) + 1
            return f"{count}. "
        self._counts.pop(paragraph.level, None)
        has_bullet = self._is_list and self._shape in _LISTS if paragraph.bullet is None else paragraph.bullet
        return "- " if has_bullet else ""

    def _end_cell(self, text: str, *, continues: bool) -> None:
        self._cell = None
        if not continues:
            # A header that stands above several columns names each of them; what they hold themselves is nothing.
            self._row += [text, *[text if self._is_header else ""] * (self._span - 1)]


def _note(paragraph: _Paragraph, name: str, element: etree._Element) -> None:
    match name:
        case "t":
            paragraph.texts.append(element.text or "")
        case "br":
            paragraph.texts.append("\n")
        case "pPr":
            level = element.get("lvl", "0")
            paragraph.level = int(level) if level in "012345678" else 0
        case "buNone":
            paragraph.bullet = False
        case "buChar" | "buBlip":
            paragraph.bullet = True
        case "buAutoNum":
            paragraph.numbered = True
