"""OpenDocument: texts (ODT), sheets (ODS) and slides (ODP), straight from the zip, element by element (packages.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO

from lxml import etree

from common.records import Page
from functions.extractors import Options, packages
from functions.extractors.odf_text import Styles, count, text_of
from functions.extractors.tables import MAX_SPAN, Columns, Row, with_tables
from functions.extractors.word_styles import joined
from functions.pieces import Piece, in_records

_CONTENT, _STYLES, _MANIFEST = "content.xml", "styles.xml", "META-INF/manifest.xml"
_DEEPEST = 6
# What was deleted, and what readers said about the text.
_ASIDE = frozenset(("tracked-changes", "annotation"))
# A sheet is a page, and so is a slide; a text has one.
_SHEETS, _SLIDE = "spreadsheet", "page"
_FORGOTTEN = frozenset(("p", "h", "list-item", "table-row", "table", "frame", "page"))


def extract(path: Path, options: Options) -> Iterator[Page]:
    """A text's one page, in records, or a page for each sheet or slide, with its name or title for a heading.

    Raises `Rejected` with FILE_DAMAGED, PASSWORD_PROTECTED, INFLATES_TOO_LARGE or TOO_MANY_PAGES.
    """
    with packages.opened(path, options, "an OpenDocument file") as archive:
        if _MANIFEST in archive.NameToInfo:
            with archive.open(_MANIFEST) as file:
                if next(packages.elements(file, "{*}encryption-data", starts=False), None):
                    raise packages.locked(options)
        styles = Styles()
        for part in (_STYLES, _CONTENT):
            if part in archive.NameToInfo:
                with archive.open(part) as file:
                    styles.read(file)
        with archive.open(_CONTENT) as file:
            for number, items in groupby(_read(file, styles), key=itemgetter(0)):
                options.demand(pages=number)
                yield from in_records(joined(with_tables(item for _, item in items)), number)


def _read(file: IO[bytes], styles: Styles) -> Iterator[tuple[int, Piece | Row]]:
    """Each page's number with what is on it."""
    state = _State(styles)
    aside = 0
    for starts, element in packages.elements(file):
        name = packages.local(element)
        if name in _ASIDE:
            aside += 1 if starts else -1
        if aside:
            continue
        if item := state.open(name, element) if starts else state.close(name, element):
            yield state.page, item
        # Within a paragraph, what it holds beside its text has been told, and its text has not.
        if not starts and not state.in_paragraph and name in _FORGOTTEN:
            packages.forget(element)


@dataclass(slots=True)
class _Row:
    is_header: bool
    cells: list[tuple[int, str]] = field(default_factory=list)
    column: int = 0


class _State:
    """The paragraphs, lists, rows and cells that are open: each may hold others."""

    def __init__(self, styles: Styles) -> None:
        self.page = 1
        self.in_paragraph = 0
        self._styles = styles
        self._lists: list[tuple[str, int]] = []
        self._mark = ""
        self._title = False
        self._has_pages = self._sheets = False
        self._tables, self._headers = 0, 0
        self._columns = Columns()
        self._rows: list[_Row] = []
        self._cells: list[list[str]] = []

    def open(self, name: str, element: etree._Element) -> Piece | Row | None:
        match name:
            case "p" | "h":
                self.in_paragraph += 1
            case "list":
                style = packages.attribute(element, "style-name") or (self._lists[-1][0] if self._lists else "")
                self._lists.append((style, 0))
            case "list-item" | "list-header":
                self._mark = self._next_mark(name, element)
            case "frame":
                self._title = packages.attribute(element, "class") in ("title", "subtitle")
            case "page" | "table" | "spreadsheet" if not self._cells:
                return self._part(name, element)
            case "table-header-rows":
                self._headers += 1
            case "table-row":
                self._rows.append(_Row(self._headers > 0))
            case "table-cell":
                self._cells.append([])
        return None

    def _part(self, name: str, element: etree._Element) -> Piece | None:
        """A page, a sheet or a table begins."""
        self._sheets = self._sheets or name == _SHEETS
        if name == "table":
            self._tables, self._columns = self._tables + 1, Columns()
        if name == _SLIDE or (name == "table" and self._sheets):
            self.page += self._has_pages
            self._has_pages = True
            if name == "table":
                return Piece(packages.attribute(element, "name") or "", "heading", 1)
        return None

    def close(self, name: str, element: etree._Element) -> Piece | Row | None:
        """What is finished with this element."""
        match name:
            case "p" | "h":
                self.in_paragraph -= 1
                return self._end_paragraph(name, element)
            case "list":
                self._lists.pop()
            case "list-item" | "list-header":
                self._mark = ""
            case "frame":
                self._title = False
            case "table-header-rows":
                self._headers -= 1
            case "table-cell" if self._cells:
                self._end_cell(element, self._cells.pop())
            case "covered-table-cell" if self._rows:
                self._rows[-1].column += count(element, "number-columns-repeated")
            case "table-row":
                return self._end_row(self._rows.pop())
        return None

    def _next_mark(self, name: str, element: etree._Element) -> str:
        if not self._lists or name == "list-header":
            return ""
        style, number = self._lists[-1]
        number = count(element, "start-value", number + 1)
        self._lists[-1] = style, number
        return f"{number}. " if self._styles.counts(style, len(self._lists)) else "- "

    def _end_paragraph(self, name: str, element: etree._Element) -> Piece | None:
        text = text_of(element)
        if self._cells:
            # Whatever a cell holds is one line of it.
            self._cells[-1].append(" ".join(text.split()))
            return None
        style = packages.attribute(element, "style-name") or ""
        if self._styles.is_code(style):
            return Piece(text.rstrip(), "verbatim")
        text = "\n".join(filter(None, map(str.strip, text.split("\n"))))
        if not text:
            return None
        mark, self._mark = self._mark, ""
        if name == "h":
            return Piece(" ".join(text.split()), "heading", min(count(element, "outline-level"), _DEEPEST))
        if self._title or self._styles.is_title(style):
            return Piece(" ".join(text.split()), "heading", 1)
        return Piece(mark + text, "item" if mark else "paragraph")

    def _end_cell(self, element: etree._Element, texts: list[str]) -> None:
        text = " ".join(filter(None, texts))
        if packages.attribute(element, "value-type") == "date":
            # As ISO has it, whatever the sheet shows.
            text = (packages.attribute(element, "date-value") or text).replace("T", " ")
        if not self._rows:
            return
        row = self._rows[-1]
        repeated = count(element, "number-columns-repeated")
        if text:
            # A header that stands above several columns names each of them.
            wide = count(element, "number-columns-spanned") if row.is_header else repeated
            row.cells += ((row.column + at, text) for at in range(min(wide, MAX_SPAN)))
        row.column += repeated

    def _end_row(self, row: _Row) -> Row | None:
        if self._cells:
            self._cells[-1] += (text for _, text in row.cells)
            return None
        # The same row a million times says no more than once; mostly it is empty.
        return Row(self._tables or 1, self._columns.row(row.cells), row.is_header) if row.cells else None
