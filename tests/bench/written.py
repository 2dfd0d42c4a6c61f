"""A book's pieces written as a document of each format, by other people's libraries where there are any."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from email.message import EmailMessage
from html import escape
from itertools import groupby

import docx
import msgspec
import openpyxl
import pptx
import xlwt

from functions.extractors import (
    CODE,
    CSV,
    DOCX,
    EML,
    EPUB,
    HTML,
    JSON,
    JSONL,
    MARKDOWN,
    MSG,
    ODP,
    ODS,
    ODT,
    PPTX,
    RTF,
    TEXT,
    TSV,
    XLS,
    XLSX,
    XML,
    ZIP,
    Format,
)
from functions.pieces import Piece
from tests.unit import compound, documents

Pieces = Sequence[Piece]

_BLOCKS_A_SLIDE = 8
_HEADER = ("Number", "Kind", "Level", "Text")
# What no XML may hold.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_RTF_MARKS = re.compile(r"[\\{}\n]|[^\x00-\x7f]")


def plain(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces without places and without what no XML may hold."""
    return [Piece(_CONTROLS.sub("", one.text), one.kind, one.level) for one in pieces if one.text.strip()]


def text(pieces: Pieces) -> str:
    return "\n\n".join(one.text for one in pieces)


def _docx(pieces: Pieces) -> bytes:
    document = docx.Document()
    for rows, one in _tables(pieces):
        if rows:
            table = document.add_table(len(rows), len(rows[0]))
            for row, texts in zip(table.rows, rows, strict=True):
                for cell, value in zip(row.cells, texts, strict=True):
                    cell.text = value
        elif one.kind == "heading":
            document.add_heading(one.text, one.level)
        else:
            document.add_paragraph(one.text, "List Bullet" if one.kind == "item" else None)
    return _saved(document.save)


def _pptx(pieces: Pieces) -> bytes:
    """A slide for a few blocks, under the heading that stands above them; its notes have the last of them again."""
    deck = pptx.Presentation()
    title = "Debian"
    for at in range(0, len(pieces), _BLOCKS_A_SLIDE):
        blocks = pieces[at : at + _BLOCKS_A_SLIDE]
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        title = next((one.text for one in blocks if one.kind == "heading"), title)
        slide.shapes.title.text = title
        slide.placeholders[1].text = "\n".join(one.text for one in blocks[:-1])
        slide.notes_slide.notes_text_frame.text = blocks[-1].text
    return _saved(deck.save)


def _xlsx(pieces: Pieces) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Blocks")
    for row in _records(pieces):
        sheet.append(row)
    return _saved(book.save)


def _xls(pieces: Pieces) -> bytes:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Blocks")
    for number, row in enumerate(_records(pieces)):
        for column, value in enumerate(row):
            sheet.write(number, column, value)
    return _saved(book.save)


def _odt(pieces: Pieces) -> bytes:
    return documents.opendocument("text", f"<office:text>{''.join(_odf_blocks(pieces))}</office:text>")


def _ods(pieces: Pieces) -> bytes:
    table = _odf_table([list(map(str, row)) for row in _records(pieces)])
    return documents.opendocument("spreadsheet", f"<office:spreadsheet>{table}</office:spreadsheet>")


def _odp(pieces: Pieces) -> bytes:
    slides = (pieces[at : at + _BLOCKS_A_SLIDE] for at in range(0, len(pieces), _BLOCKS_A_SLIDE))
    pages = (
        f"<draw:page><draw:frame><draw:text-box>{''.join(_odf_blocks(slide))}</draw:text-box></draw:frame></draw:page>"
        for slide in slides
    )
    return documents.opendocument("presentation", f"<office:presentation>{''.join(pages)}</office:presentation>")


def _odf_blocks(pieces: Pieces) -> Iterator[str]:
    for rows, one in _tables(pieces):
        if rows:
            yield _odf_table(rows)
        elif one.kind == "heading":
            yield f'<text:h text:outline-level="{one.level}">{escape(one.text)}</text:h>'
        else:
            yield f"<text:p>{escape(one.text)}</text:p>"


def _odf_table(rows: Iterable[Sequence[str]]) -> str:
    cells = (
        "".join(f"<table:table-cell><text:p>{escape(value)}</text:p></table:table-cell>" for value in row)
        for row in rows
    )
    return "<table:table>" + "".join(f"<table:table-row>{row}</table:table-row>" for row in cells) + "</table:table>"


def _epub(pieces: Pieces) -> bytes:
    return documents.epub(*map(_xhtml, _chapters(pieces)))


def _html(pieces: Pieces) -> bytes:
    return _xhtml(pieces).encode()


def _xhtml(pieces: Pieces) -> str:
    body = "".join(_markup(pieces))
    return f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Debian</title></head><body>{body}</body></html>'


def _markup(pieces: Pieces) -> Iterator[str]:
    for rows, one in _tables(pieces):
        if rows:
            cells = ("".join(f"<td>{escape(value)}</td>" for value in row) for row in rows)
            yield "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"
        else:
            tag = {"heading": f"h{one.level}", "verbatim": "pre"}.get(one.kind, "p")
            yield f"<{tag}>{escape(one.text)}</{tag}>"


def _rtf(pieces: Pieces) -> bytes:
    head = r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\stylesheet{\s0 Normal;}"
    head += "".join(rf"{{\s{level}\outlinelevel{level - 1} heading {level};}}" for level in range(1, 7)) + "}"
    parts = [head]
    for rows, one in _tables(pieces):
        if rows:
            edges = "".join(rf"\cellx{1000 * (column + 1)}" for column in range(len(rows[0])))
            for row in rows:
                parts.append(rf"\trowd{edges}\pard\intbl " + "".join(rf"{_rtf_text(cell)}\cell " for cell in row))
                parts.append(r"\row ")
        else:
            parts.append(rf"\pard\s{one.level} {_rtf_text(one.text)}\par ")
    return ("".join(parts) + "}").encode("ascii")


def _rtf_text(value: str) -> str:
    return _RTF_MARKS.sub(_rtf_mark, value)


def _rtf_mark(found: re.Match[str]) -> str:
    if found[0] == "\n":
        return r"\line "
    if found[0].isascii():
        return "\\" + found[0]
    units = memoryview(found[0].encode("utf-16-le")).cast("H")
    return "".join(rf"\u{unit - 0x10000 if unit > 0x7FFF else unit}?" for unit in units)


def _markdown(pieces: Pieces) -> bytes:
    parts: list[str] = []
    for rows, one in _tables(pieces):
        if rows:
            lines = ["| " + " | ".join(value.replace("|", r"\|") for value in row) + " |" for row in rows]
            lines.insert(1, "|" + " --- |" * len(rows[0]))
            parts.append("\n".join(lines))
        elif one.kind == "heading":
            parts.append("#" * one.level + " " + " ".join(one.text.split()))
        else:
            parts.append(f"```\n{one.text}\n```" if one.kind == "verbatim" else one.text)
    return "\n\n".join(parts).encode()


def _separated(delimiter: str) -> Callable[[Pieces], bytes]:
    def write(pieces: Pieces) -> bytes:
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter).writerows(_records(pieces))
        return out.getvalue().encode()

    return write


def _json(pieces: Pieces) -> bytes:
    return msgspec.json.format(msgspec.json.encode(_objects(pieces)))


def _jsonl(pieces: Pieces) -> bytes:
    return msgspec.json.Encoder().encode_lines(_objects(pieces))


def _xml(pieces: Pieces) -> bytes:
    blocks = ("".join(f"<{name}>{escape(str(one[name]))}</{name}>" for name in one) for one in _objects(pieces))
    return ("<?xml version='1.0'?><book>" + "".join(f"<block>{one}</block>" for one in blocks) + "</book>").encode()


def _eml(pieces: Pieces) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Ada <ada@example.com>", "bob@example.com", "The books"
    mail.set_content(text(pieces))
    return mail.as_bytes()


def _zip(pieces: Pieces) -> bytes:
    return documents.archive({f"chapter {n}.html": _html(one) for n, one in enumerate(_chapters(pieces), 1)})


def _tables(pieces: Pieces) -> Iterator[tuple[list[list[str]], Piece]]:
    """Each piece by itself, but rows that follow one another as the cells of one table."""
    for is_row, group in groupby(pieces, lambda one: one.kind == "row"):
        if not is_row:
            yield from (([], one) for one in group)
            continue
        rows = [re.split(r"; |\t", one.text) for one in group]
        width = max(map(len, rows))
        yield [row + [""] * (width - len(row)) for row in rows], Piece("")


def _chapters(pieces: Pieces) -> Iterator[list[Piece]]:
    held: list[Piece] = []
    for one in pieces:
        if held and one.kind == "heading" and one.level == 1:
            yield held
            held = []
        held.append(one)
    yield held


def _records(pieces: Pieces) -> Iterator[tuple[str | int, ...]]:
    yield _HEADER
    yield from ((number, one.kind, one.level, one.text) for number, one in enumerate(pieces, 1))


def _objects(pieces: Pieces) -> list[dict[str, str | int]]:
    _, *rows = _records(pieces)
    return [dict(zip(_HEADER, row, strict=True)) for row in rows]


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    save(out)
    return out.getvalue()


WRITERS: dict[Format, Callable[[Pieces], bytes]] = {
    DOCX: _docx,
    PPTX: _pptx,
    XLSX: _xlsx,
    XLS: _xls,
    ODT: _odt,
    ODS: _ods,
    ODP: _odp,
    EPUB: _epub,
    RTF: _rtf,
    HTML: _html,
    MARKDOWN: _markdown,
    CSV: _separated(","),
    TSV: _separated("\t"),
    TEXT: lambda pieces: text(pieces).encode(),
    JSON: _json,
    JSONL: _jsonl,
    XML: _xml,
    CODE: lambda pieces: text(pieces).encode(),
    EML: _eml,
    MSG: lambda pieces: compound.msg("The books", text(pieces)),
    ZIP: _zip,
}
"""All formats but those that a program of the machine reads, that only OCR reads, and PDF, which the books are."""
