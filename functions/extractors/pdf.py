"""PDF by PyMuPDF: the text layer with its structure and places. Pages whose text is only a picture are for OCR."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pymupdf

from common.errors import Rejected
from common.records import Page
from functions.extractors import Options, pdf_headings, printed_pieces
from functions.extractors.garbled import is_garbled
from functions.extractors.pdf_layout import layout
from functions.extractors.printed import Layout
from functions.pieces import in_records

# MuPDF writes its complaints to stderr; what matters of them comes as exceptions.
pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)

_ERRORS = (RuntimeError, pymupdf.mupdf.FzErrorBase)
# FZ_ERROR_SYSTEM, which while reading text means that malloc refused.
_SYSTEM_ERROR = "code=2:"
_NO_MEMORY = re.compile(r"alloc \(.*\) failed")
# Where readers look for the end mark (PDF 1.7, implementation note 18).
_TAIL_BYTES = 1024
# How headings look is learnt from so many pages, before the first is told.
_SAMPLE_PAGES = 24
# Drawn lines are looked for until so many were found: no book has as many, and maps have them on one page.
_MOST_VECTORS = 500_000
# A page with less text than this may be a picture with a stamp or a page number on it.
_LITTLE_TEXT = 100
_FULL_PAGE, _PICTURE = 0.5, 0.05
# A page of letters that are drawn as shapes has more.
_OUTLINED_LETTERS = 60


def _warm_up() -> None:
    """What MuPDF builds for its first page is made here once, and every child has it: 4 ms of its 17."""
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 72), "warm up")
        content = document.tobytes()
    with pymupdf.open(stream=content, filetype="pdf") as document:
        layout(document[0], ruled=True)


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
    reader = _Reader(document, options)
    titles = pdf_headings.outline(document)
    sample = {number: reader.layout(number) for number in pdf_headings.sample(count, titles, _SAMPLE_PAGES)}
    headings = pdf_headings.learnt(titles, sample.items())
    told = 0
    for number in range(1, count + 1):
        found = sample.pop(number, None) or reader.layout(number)
        pieces = list(printed_pieces.pieces(number, found, headings))
        told += sum(piece.kind == "heading" for piece in pieces)
        reader.judge(number, "\n".join(piece.text for piece in pieces), found)
        yield from in_records(pieces, number)
    if told:
        options.note(headings=told)
    # MuPDF goes on without what it had no memory for, and only mutters.
    if _NO_MEMORY.search(pymupdf.TOOLS.mupdf_warnings()):
        raise MemoryError


class _Reader:
    """Reads pages, and notes those that cannot be read or are for OCR."""

    def __init__(self, document: pymupdf.Document, options: Options) -> None:
        self._document, self._options = document, options
        self._vectors = 0
        self._unreadable: list[int] = []
        self._garbled = 0

    def layout(self, number: int) -> Layout:
        try:
            found = layout(self._document[number - 1], ruled=self._vectors < _MOST_VECTORS)
        except _ERRORS as error:
            _demand_memory(error)
            self._unreadable.append(number)
            self._options.note(unreadable_pages=sorted(self._unreadable))
            return Layout()
        self._vectors += found.vectors
        return found

    def judge(self, number: int, text: str, found: Layout) -> None:
        """Leave the page to OCR if its text is nonsense, or missing where there is something to see."""
        if number in self._unreadable:
            return
        if is_garbled(text):
            self._garbled += 1
            self._options.note(garbled_pages=self._garbled)
            self._options.scan(number)
        elif len(text) < _LITTLE_TEXT and self._is_picture(number, bool(text.strip()), found):
            self._options.scan(number)

    def _is_picture(self, number: int, has_text: bool, found: Layout) -> bool:
        if not has_text and found.vectors > _OUTLINED_LETTERS:
            return True
        try:
            page = self._document[number - 1]
            whole = page.rect
            drawn = [pymupdf.Rect(box) & whole for kind, box in page.get_bboxlog() if "image" in kind]
        except _ERRORS as error:
            _demand_memory(error)
            return False
        area = sum(abs(box) for box in drawn if box.is_valid)
        return bool(area >= (_FULL_PAGE if has_text else _PICTURE) * abs(whole))


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
