"""XLSX: each sheet's rows straight from the zip, row by row (packages.py).

Not by calamine, which reads old workbooks (xls.py): it makes a grid of all cells between a sheet's first and last, and
a kilobyte with two far corners is half a terabyte (tafia/calamine#693).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, cast
from zipfile import ZipFile

from lxml import etree

from common.records import Page
from functions.extractors import Options, packages
from functions.extractors.number_formats import Formats
from functions.extractors.tables import Columns, Row, with_tables
from functions.pieces import Piece, in_records

_MAIN = "xl/workbook.xml"
_SHEET = "worksheet"
# Cells and rows that are only formatted, as programs write them: there may be a million, and to parse them takes more
# than half a minute. How else they may be written is read as any other.
_EMPTY_CELL = re.compile(rb'<c r="[A-Z]{1,3}[0-9]{1,7}"[^<>]*/>')
_EMPTY_ROW = re.compile(rb'<row r="[0-9]{1,7}"[^<>]*(?:/>|></row>)')
_BLOCK_BYTES = 256 * 1024
_BOOLEANS = {"0": "FALSE", "1": "TRUE"}
# Three letters at most: XFD is Excel's last.
_LETTERS = 3


def extract(path: Path, options: Options) -> Iterator[Page]:
    """A page for each sheet: its name, then its rows with their headers; dates as ISO 8601 has them.

    Raises `Rejected` with FILE_DAMAGED, PASSWORD_PROTECTED, INFLATES_TOO_LARGE or TOO_MANY_PAGES.
    """
    with packages.opened(path, options, "an Excel workbook") as archive:
        book = _Book.read(archive)
        options.demand(pages=len(book.sheets))
        for number, (name, part) in enumerate(book.sheets, start=1):
            rows = with_tables(_rows(archive, part, book))
            yield from in_records(chain([Piece(name, "heading", 1)], rows), number)


@dataclass(frozen=True, slots=True)
class _Book:
    """`sheets`: names and parts; `strings`: what cells refer to by number."""

    sheets: list[tuple[str, str]]
    strings: list[str]
    formats: Formats

    @classmethod
    def read(cls, archive: ZipFile) -> _Book:
        main = packages.main_part(archive, _MAIN)
        parts = packages.relationships(archive, main)
        sheets = {part.id: part.target for part in parts if part.kind == _SHEET}
        named, from_1904 = [], False
        with archive.open(main) as file:
            for _, element in packages.elements(file, "{*}sheet", "{*}workbookPr", starts=False):
                if packages.local(element) == "workbookPr":
                    from_1904 = element.get("date1904") in ("1", "true")
                elif part := sheets.get(packages.relation(element)):
                    named.append((element.get("name", ""), part))
        others = {part.kind: part.target for part in parts}
        formats = Formats(from_1904)
        if styles := others.get("styles"):
            with archive.open(styles) as file:
                formats.read(file)
        return cls(named, list(_strings(archive, others.get("sharedStrings"))), formats)


def _strings(archive: ZipFile, part: str | None) -> Iterator[str]:
    if part is not None:
        with archive.open(part) as file:
            for _, element in packages.elements(file, "{*}si", starts=False):
                yield _text(element)
                packages.forget(element)


def _text(element: etree._Element) -> str:
    """A string's text, without how it is pronounced."""
    parts = (part for part in element.iter("{*}t") if packages.local(part.getparent()) != "rPh")
    return "".join(part.text or "" for part in parts)


def _rows(archive: ZipFile, part: str, book: _Book) -> Iterator[Row]:
    headers = set(_headers(archive, part))
    columns = Columns()
    table = 1
    with archive.open(part) as file:
        thinned = cast(IO[bytes], _Thinned(file))
        for number, (_, row) in enumerate(packages.elements(thinned, "{*}row", starts=False), start=1):
            if next(row.iter("{*}v", "{*}t"), None) is not None:
                is_header = row.get("r", str(number)) in headers
                table += is_header
                yield Row(table, columns.row(_cells(row, book)), is_header)
            packages.forget(row)


class _Thinned:
    """A sheet's XML without its empty cells and rows."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._held = b""

    def read(self, _: int = -1) -> bytes:
        """Some more of it; nothing at its end."""
        while block := self._file.read(_BLOCK_BYTES):
            whole, end, self._held = (self._held + block).rpartition(b">")
            # A row's end may lie in the next block: then the row stays.
            if thin := _EMPTY_ROW.sub(b"", _EMPTY_CELL.sub(b"", whole + end)):
                return thin
        rest, self._held = self._held, b""
        return rest


def _headers(archive: ZipFile, part: str) -> Iterator[str]:
    """The numbers of the rows that the sheet's tables have for headers."""
    for other in packages.relationships(archive, part):
        if other.kind == "table":
            with archive.open(other.target) as file:
                for _, table in packages.elements(file, "{*}table", starts=False):
                    if table.get("headerRowCount", "1") != "0":
                        yield table.get("ref", "").partition(":")[0].lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ$")


def _cells(row: etree._Element, book: _Book) -> Iterator[tuple[int, str]]:
    """The cells that hold something: (column, text)."""
    column = -1
    for cell in row.iterchildren("{*}c"):
        column = _column(cell.get("r", ""), column + 1)
        if len(cell) and (text := _value(cell, book)):
            yield column, text


def _column(reference: str, following: int) -> int:
    """Counted from 0: of "B7", 1; where a cell does not say, the one that follows."""
    column = 0
    for letter in reference[:_LETTERS]:
        if not "A" <= letter <= "Z":
            break
        column = 26 * column + ord(letter) - 64
    return column - 1 if column else following


def _value(cell: etree._Element, book: _Book) -> str:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return _text(cell)
    value = next((child.text or "" for child in cell.iterchildren("{*}v")), "")
    match kind:
        case "s":
            at = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1
            return book.strings[at] if 0 <= at < len(book.strings) else ""
        case "b":
            return _BOOLEANS.get(value, value)
        case "n":
            return book.formats.shown(value, cell.get("s", "0"))
        case _:
            # A formula's text, an error, or a date as ISO has it.
            return value
