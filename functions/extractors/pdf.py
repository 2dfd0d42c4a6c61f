"""PDF by PyMuPDF: the text layer only, block by block in the order it was set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pymupdf

from common.errors import Rejected
from common.records import Page
from functions.extractors import Options

# MuPDF writes its complaints to stderr; what matters of them comes as exceptions.
pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)

# Ligatures come apart, and text outside the page stays out. Sorting by position would cost fifteen times the time
# and shuffles columns; producers set text in reading order.
_FLAGS = pymupdf.TEXT_PRESERVE_WHITESPACE | pymupdf.TEXT_MEDIABOX_CLIP
_TEXT_BLOCK = 0
_ERRORS = (RuntimeError, pymupdf.mupdf.FzErrorBase)
# FZ_ERROR_SYSTEM, which while reading text means that malloc refused.
_SYSTEM_ERROR = "code=2:"
_NO_MEMORY = re.compile(r"alloc \(.*\) failed")
# Where readers look for the end mark (PDF 1.7, implementation note 18).
_TAIL_BYTES = 1024


def _warm_up() -> None:
    """What MuPDF builds for its first page is made here once, and every child has it: 4 ms of its 17."""
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 72), "warm up")
        content = document.tobytes()
    with pymupdf.open(stream=content, filetype="pdf") as document:
        document[0].get_text("blocks", flags=_FLAGS)


_warm_up()


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page for each page. Raises `Rejected` with FILE_DAMAGED, PASSWORD_PROTECTED or TOO_MANY_PAGES."""
    try:
        document = pymupdf.open(path, filetype="pdf")
    except (pymupdf.FileDataError, pymupdf.EmptyFileError) as error:
        raise _damaged(options) from error
    with document:
        if document.needs_pass:
            raise Rejected(
                f"{options.name} is protected by a password. Upload a copy that opens without one.",
                code="PASSWORD_PROTECTED",
            )
        if document.is_repaired:
            # MuPDF mends what it can of anything. A file that lacks its end lacks pages too, however many are left.
            if not _has_end(path):
                raise _damaged(options)
            options.note(repaired=True)
        count = _page_count(document, options)
        # Before any is read.
        options.demand(pages=count)
        yield from _pages(document, count, options)


def _page_count(document: pymupdf.Document, options: Options) -> int:
    try:
        count = int(document.page_count)
    except _ERRORS as error:  # it says that it has less than none, or more than there are objects
        _demand_memory(error)
        raise _damaged(options) from error
    if count == 0:
        raise _damaged(options)
    return count


def _pages(document: pymupdf.Document, count: int, options: Options) -> Iterator[Page]:
    unreadable = []
    for number in range(1, count + 1):
        try:
            blocks = document[number - 1].get_text("blocks", flags=_FLAGS)
        except _ERRORS as error:
            _demand_memory(error)
            unreadable.append(number)
            options.note(unreadable_pages=unreadable)
            blocks = []
        yield Page(number, "\n\n".join(block[4].rstrip("\n") for block in blocks if block[6] == _TEXT_BLOCK))
    # MuPDF goes on without what it had no memory for, and only mutters.
    if _NO_MEMORY.search(pymupdf.TOOLS.mupdf_warnings()):
        raise MemoryError


def _demand_memory(error: Exception) -> None:
    if _SYSTEM_ERROR in str(error):
        raise MemoryError from error


def _has_end(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return b"%%EOF" in file.read()


def _damaged(options: Options) -> Rejected:
    return Rejected(
        f"{options.name} is damaged or incomplete: it cannot be read as a PDF to its end. Upload it again.",
        code="FILE_DAMAGED",
    )
