"""DOCX: the document's XML straight from the zip, element by element, so that memory stays flat and bombs fizzle."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lxml import etree

from common.errors import Rejected
from common.records import Page
from functions.extractors import Options
from functions.pieces import text_records

_MAIN = "word/document.xml"
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")
# "Transitional", which every program writes, and "strict".
_NAMESPACES = (
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "http://purl.oclc.org/ooxml/wordprocessingml/main",
)
_MARKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
# Holds the same text once more, for programs that do not know its newer form.
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_ENCRYPTED = 0x1


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page, in records: paragraphs apart by an empty line, a table's rows as lines, its cells apart by tabs.

    Raises `Rejected` with FILE_DAMAGED, PASSWORD_PROTECTED or INFLATES_TOO_LARGE.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check(archive, options)
            yield from text_records(_texts(archive))
    except (zipfile.BadZipFile, zlib.error, etree.XMLSyntaxError, EOFError, NotImplementedError, KeyError) as error:
        raise Rejected(
            f"{options.name} is damaged: it cannot be read as a Word document. Upload it again.", code="FILE_DAMAGED"
        ) from error


def _check(archive: zipfile.ZipFile, options: Options) -> None:
    main = archive.getinfo(_MAIN)
    if main.flag_bits & _ENCRYPTED:
        raise Rejected(f"{options.name} is protected by a password.", code="PASSWORD_PROTECTED")
    # What the directory declares is what can be read: zipfile stops there, and finds the checksum wrong.
    inflated = sum(entry.file_size for entry in archive.infolist())
    if inflated > options.max_inflated_bytes:
        raise Rejected(
            f"{options.name} unfolds to {inflated / (1 << 20):,.0f} MiB, more than the "
            f"{options.max_inflated_bytes / (1 << 20):,.0f} MiB that one document may have "
            "(BRIGADE_MAX_INFLATED_BYTES).",
            code="INFLATES_TOO_LARGE",
        )


def _texts(archive: zipfile.ZipFile) -> Iterator[str]:
    for part in (_MAIN, *_NOTES):
        if part in archive.NameToInfo:
            with archive.open(part) as file:
                yield from _blocks(file)


def _blocks(file: IO[bytes]) -> Iterator[str]:
    """The text of each paragraph and table row, with the newlines that follow it."""
    state = _State()
    fallbacks = 0
    for event, element in etree.iterparse(
        file, events=("start", "end"), tag="{*}*", resolve_entities=False, no_network=True, load_dtd=False
    ):
        if element.tag == _FALLBACK:
            fallbacks += 1 if event == "start" else -1
        namespace, _, name = element.tag[1:].partition("}")
        if fallbacks or namespace not in _NAMESPACES:
            continue
        if event == "start":
            state.open(name)
        elif text := state.close(name, element.text or ""):
            yield text
        if event == "end" and name in ("p", "tr"):
            _forget(element)


class _State:
    """The paragraphs, cells and rows that are open: each may hold others (text boxes, nested tables)."""

    def __init__(self) -> None:
        self._open: dict[str, list[list[str]]] = {"p": [], "tc": [], "tr": []}

    def open(self, name: str) -> None:
        if name in self._open:
            self._open[name].append([])

    def close(self, name: str, content: str) -> str:
        """The text that is finished with this element, "" if none is."""
        paragraphs, cells, rows = self._open.values()
        if name in ("t", *_MARKS):
            if paragraphs:
                paragraphs[-1].append(_MARKS.get(name, content))
        elif name == "p":
            return self._finished("".join(paragraphs.pop()).strip(), "\n\n")
        elif name == "tc":
            text = " ".join(filter(None, cells.pop()))
            if rows:
                rows[-1].append(text)
        elif name == "tr":
            return self._finished("\t".join(rows.pop()).rstrip(), "\n")
        elif name == "tbl" and not cells:
            return "\n"
        return ""

    def _finished(self, text: str, end: str) -> str:
        cells = self._open["tc"]
        if cells:
            # Whatever a cell holds is one line of it.
            cells[-1].append(" ".join(text.split()))
            return ""
        return text + end if text else ""


def _forget(element: etree._Element) -> None:
    """Free what has been read; an element still being read cannot lose itself, only what is in and before it."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]
