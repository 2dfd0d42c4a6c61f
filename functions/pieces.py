"""Pages put together from pieces, and taken apart again: what extractors make, and what is done to text later."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from msgspec import structs

from common.records import Block, Kind, Line, Page

# Characters of one record: small enough for flat memory, large enough that records cost nothing.
RECORD_CHARACTERS = 50_000
# What its pieces and lines may come to: 30 bytes each.
_RECORD_PARTS = 4_000
# What stands together with its like: rows of a table, items of a list.
_TOGETHER = frozenset(("row", "item"))
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A block with its text. The lines' places count in that text."""

    text: str
    kind: Kind = "paragraph"
    level: int = 0
    lines: tuple[Line, ...] = ()


def compose(number: int, pieces: Iterable[Piece]) -> Page:
    """The page of these: apart by an empty line, rows and items by a line's end. Pieces without text are left out."""
    parts: list[str] = []
    blocks: list[Block] = []
    lines: list[Line] = []
    length = 0
    last: Piece | None = None
    for piece in pieces:
        if not piece.text:
            continue
        if last is not None:
            between = _between(last, piece)
            parts.append(between)
            length += len(between)
        parts.append(piece.text)
        blocks.append(Block(length, length + len(piece.text), piece.kind, piece.level))
        lines += (Line(length + line.start, line.box) for line in piece.lines)
        length += len(piece.text)
        last = piece
    return Page(number, "".join(parts), tuple(blocks), tuple(lines))


def blocks_of(page: Page) -> tuple[Block, ...]:
    """The page's blocks; where it names none, what empty lines part."""
    return page.blocks or tuple(_paragraphs(page.text))


def pieces_of(page: Page) -> Iterator[Piece]:
    """What the page was composed of."""
    lines = iter(page.lines)
    line = next(lines, None)
    for block in blocks_of(page):
        own: list[Line] = []
        while line is not None and line.start < block.end:
            own.append(Line(max(line.start - block.start, 0), line.box))
            line = next(lines, None)
        yield Piece(page.text[block.start : block.end], block.kind, block.level, tuple(own))


def in_records(pieces: Iterable[Piece], number: int = 1) -> Iterator[Page]:
    """The pieces as records of page `number`, at least one."""
    held: list[Piece] = []
    length = parts = 0
    for piece, ends in _bounded(pieces):
        parts += 1 + len(piece.lines)
        if held and (length + len(piece.text) + 2 > RECORD_CHARACTERS or parts > _RECORD_PARTS):
            page = compose(number, held)
            # The newline that follows every record stands for the separator's last character.
            yield structs.replace(page, text=page.text + _between(held[-1], piece)[1:])
            held, length, parts = [], 0, 1 + len(piece.lines)
        held.append(piece)
        length += len(piece.text) + 2
        if not ends:
            yield compose(number, held)
            held, length, parts = [], 0, 0
    yield compose(number, held)


def records_of(page: Page, rewrite: Callable[[str], str]) -> Iterator[Page]:
    """The page in records, its text rewritten line by line."""
    if page.blocks and _is_record(page) and rewrite(page.text) == page.text:
        yield page
    elif page.blocks:
        yield from in_records((rewritten(piece, rewrite) for piece in pieces_of(page)), page.number)
    else:
        yield from text_records([rewrite(page.text)], page.number)


def rewritten(piece: Piece, rewrite: Callable[[str], str]) -> Piece:
    """The piece with another text, made of each of its lines by itself where these have places."""
    text = rewrite(piece.text)
    if text == piece.text:
        return piece
    if not piece.lines:
        return Piece(text, piece.kind, piece.level)
    parts: list[str] = []
    lines: list[Line] = []
    length = 0
    ends = [*(line.start for line in piece.lines[1:]), len(piece.text)]
    for line, end in zip(piece.lines, ends, strict=True):
        lines.append(Line(length, line.box))
        parts.append(rewrite(piece.text[line.start : end]))
        length += len(parts[-1])
    return Piece("".join(parts), piece.kind, piece.level, tuple(lines))


def text_records(texts: Iterable[str], number: int = 1) -> Iterator[Page]:
    """The concatenated texts, of which nothing more is known, as records of page `number`, at least one."""
    held = ""
    for text in texts:
        held += text
        start = 0
        while len(held) - start > RECORD_CHARACTERS:
            end, following = _cut(held, start)
            yield Page(number, held[start:end])
            start = following
        held = held[start:]
    yield Page(number, held)


def _is_record(page: Page) -> bool:
    """Whether taking it apart and putting it together again would only take time."""
    parts = len(page.blocks) + len(page.lines)
    is_short = len(page.text) + len(page.blocks) + 2 <= RECORD_CHARACTERS and parts <= _RECORD_PARTS
    return is_short and page.blocks[-1].end == len(page.text)


def _between(piece: Piece, following: Piece) -> str:
    return "\n" if piece.kind == following.kind and piece.kind in _TOGETHER else "\n\n"


def _paragraphs(text: str) -> Iterator[Block]:
    start = 0
    for blank in _BLANK_LINES.finditer(text):
        if blank.start() > start:
            yield Block(start, blank.start())
        start = blank.end()
    if start < len(text):
        yield Block(start, len(text))


def _bounded(pieces: Iterable[Piece]) -> Iterator[tuple[Piece, bool]]:
    """The pieces, those that are longer than a record in parts; and whether a piece ends here."""
    for piece in pieces:
        start = 0
        while len(piece.text) - start > RECORD_CHARACTERS:
            end, following = _cut(piece.text, start)
            yield _part(piece, start, end), False
            start = following
        yield _part(piece, start, len(piece.text)) if start else piece, True


def _part(piece: Piece, start: int, end: int) -> Piece:
    before = [line for line in piece.lines if line.start <= start][-1:]
    within = [line for line in piece.lines if start < line.start < end]
    lines = (Line(max(line.start - start, 0), line.box) for line in (*before, *within))
    return replace(piece, text=piece.text[start:end], lines=tuple(lines))


def _cut(text: str, start: int) -> tuple[int, int]:
    """Where the record from `start` ends and the next begins: at a paragraph's end, a line's, a word's, or anywhere."""
    limit = start + RECORD_CHARACTERS
    for separator in ("\n\n", "\n", " "):
        found = text.rfind(separator, start + RECORD_CHARACTERS // 2, limit)
        if found >= 0:
            # The newline that follows every record stands for the separator's last character.
            return found + len(separator) - 1, found + len(separator)
    return limit, limit
