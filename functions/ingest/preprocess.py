"""PREPROCESS: extracted pages to clean ones: what file formats and layout did to the text is undone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.context import Context
from common.errors import Rejected
from common.records import Page
from functions.ingest.cleaning import clean, clean_piece
from functions.ingest.furniture import without_furniture
from functions.pieces import in_records, pieces_of


def preprocess(ctx: Context, pages: Iterable[Page]) -> Iterator[Page]:
    """Each page cleaned, a few held at a time: one kind of newline, nothing invisible, paragraphs without line breaks,
    no running heads and page numbers.

    A blank line ends a paragraph. Newlines that are left end a line that was meant: an item, a row, a heading.
    Notes `furniture`: the running heads and page numbers that were taken away. Raises `Rejected` with NO_TEXT after
    the last page if nothing is left of any.
    """
    blank = True
    for page in without_furniture(_checked(ctx, pages), ctx.note):
        for record in _cleaned(page):
            blank = blank and not record.text.strip()
            yield record
    if blank:
        raise Rejected(f"{ctx.target.name} holds no text: only characters that nobody sees.", code="NO_TEXT")


def _checked(ctx: Context, pages: Iterable[Page]) -> Iterator[Page]:
    for page in pages:
        ctx.check_cancelled()
        yield page


def _cleaned(page: Page) -> Iterator[Page]:
    if page.blocks:
        yield from in_records(map(clean_piece, pieces_of(page)), page.number)
    else:
        yield Page(page.number, clean(page.text))
