"""DOCX: the document's XML straight from the zip, element by element (packages.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from zipfile import ZipFile

from lxml import etree

from common.records import Page
from functions.extractors import Options, packages
from functions.extractors.tables import MAX_SPAN, Row, with_tables
from functions.extractors.word_styles import Looks, joined
from functions.pieces import Piece, in_records

_MAIN = "word/document.xml"
_NOTES = ("footnotes", "endnotes")
# "Transitional", which every program writes, and "strict".
_NAMESPACES = (
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "http://purl.oclc.org/ooxml/wordprocessingml/main",
)
_MARKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
# What was before it was moved or changed, and how a word is pronounced: that comes elsewhere too, or not at all.
_AGAIN = frozenset(("moveFrom", "rt", "pPrChange", "trPrChange", "tcPrChange"))
_NO = frozenset(("0", "false", "off"))


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page, in records: headings, list items, table rows and paragraphs; notes follow the text.

    Raises `Rejected` with FILE_DAMAGED, PASSWORD_PROTECTED or INFLATES_TOO_LARGE.
    """
    with packages.opened(path, options, "a Word document") as archive:
        yield from in_records(joined(with_tables(_items(archive))))


def _items(archive: ZipFile) -> Iterator[Piece | Row]:
    main = packages.main_part(archive, _MAIN)
    parts = {part.kind: part.target for part in packages.relationships(archive, main)}
    folder = main.rpartition("/")[0]
    for kind in ("styles", "numbering", *_NOTES):
        if (usual := f"{folder}/{kind}.xml") in archive.NameToInfo:
            parts.setdefault(kind, usual)
    looks = Looks.read(archive, parts.get("styles"), parts.get("numbering"))
    for part in (main, *(parts[kind] for kind in _NOTES if kind in parts)):
        with archive.open(part) as file:
            yield from _read(file, looks)


def _read(file: IO[bytes], looks: Looks) -> Iterator[Piece | Row]:
    state = _State(looks)
    skipped = 0
    for starts, element in packages.elements(file):
        namespace, _, name = element.tag[1:].partition("}")
        ours = namespace in _NAMESPACES
        if element.tag == packages.FALLBACK or (ours and name in _AGAIN):
            skipped += 1 if starts else -1
        if skipped or not ours:
            continue
        if starts:
            state.open(name)
        elif item := state.close(name, element):
            yield item
        if not starts and name in ("p", "tr"):
            packages.forget(element)


@dataclass(slots=True)
class _Paragraph:
    """What is known so far of a paragraph that is open; `outline` and `list_level` count from 0."""

    texts: list[str] = field(default_factory=list)
    style: str = ""
    outline: int | None = None
    list_id: str | None = None
    list_level: int | None = None


@dataclass(slots=True)
class _Cells:
    texts: list[str] = field(default_factory=list)
    is_header: bool = False


class _State:
    """The paragraphs, cells and rows that are open: each may hold others (text boxes, nested tables)."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._paragraphs: list[_Paragraph] = []
        self._cells: list[list[str]] = []
        self._spans: list[int] = []
        self._rows: list[_Cells] = []
        self._table = 0

    def open(self, name: str) -> None:
        if name == "p":
            self._paragraphs.append(_Paragraph())
        elif name == "tc":
            self._cells.append([])
            self._spans.append(1)
        elif name == "tr":
            self._rows.append(_Cells())
        elif name == "tbl" and not self._cells:
            self._table += 1

    def close(self, name: str, element: etree._Element) -> Piece | Row | None:
        """What is finished with this element."""
        if name in ("t", *_MARKS):
            if self._paragraphs:
                self._paragraphs[-1].texts.append(_MARKS.get(name) or element.text or "")
        elif name == "p":
            return self._end_paragraph(self._paragraphs.pop())
        elif name == "tc":
            self._end_cell(" ".join(filter(None, self._cells.pop())), self._spans.pop())
        elif name == "tr":
            return self._end_row(self._rows.pop())
        else:
            self._note(name, packages.attribute(element, "val") or "")
        return None

    def _note(self, name: str, value: str) -> None:
        """A property of what is open."""
        paragraph = self._paragraphs[-1] if self._paragraphs else None
        if name == "tblHeader" and self._rows:
            self._rows[-1].is_header = value not in _NO
        elif name == "gridSpan" and self._spans:
            self._spans[-1] = min(_number(value) or 1, MAX_SPAN)
        elif paragraph is None:
            return
        elif name == "pStyle":
            paragraph.style = value
        elif name == "outlineLvl":
            paragraph.outline = _number(value)
        elif name == "numId":
            paragraph.list_id = value
        elif name == "ilvl":
            paragraph.list_level = _number(value)

    def _end_paragraph(self, paragraph: _Paragraph) -> Piece | None:
        text = "".join(paragraph.texts)
        if self._cells:
            # Whatever a cell holds is one line of it.
            self._cells[-1].append(" ".join(text.split()))
            return None
        if not text.strip():
            return None
        look = self._looks.of(paragraph.style, paragraph.outline, paragraph.list_id, paragraph.list_level)
        if look.kind == "verbatim":
            return Piece(text.rstrip(), look.kind)
        return Piece(look.mark + _block(text), look.kind, look.level)

    def _end_cell(self, text: str, span: int) -> None:
        if self._rows:
            row = self._rows[-1]
            # A header that stands above several columns names each of them.
            row.texts += (text, *[text if row.is_header else ""] * (span - 1))

    def _end_row(self, row: _Cells) -> Row | None:
        if self._cells:
            self._cells[-1].append(" ".join(filter(None, row.texts)))
            return None
        return Row(self._table or 1, row.texts, row.is_header)


def _block(text: str) -> str:
    """A paragraph without the empty lines that breaks in it make."""
    return "\n".join(line for line in (line.rstrip() for line in text.strip().split("\n")) if line)


def _number(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
