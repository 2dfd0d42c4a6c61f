"""Source code: verbatim, parted where something new begins at the left margin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from common.records import Page
from functions.extractors import Options
from functions.extractors.text import decoded
from functions.pieces import Piece, in_records

# Shorter parts stay together; longer ones come apart at an empty line, and at last at any.
_LEAST_CHARACTERS, _MOST_CHARACTERS, _LIMIT_CHARACTERS = 200, 2_000, 6_000
# What closes what was begun above it.
_CLOSING = ("}", ")", "]", "end", "fi", "done", "esac", "*/", "-->", "</")


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page. Notes `encoding`. Raises `Rejected` with BINARY_TEXT."""
    yield from in_records(_parts(_lines(decoded(path, options))))


def _lines(texts: Iterable[str]) -> Iterator[str]:
    rest = ""
    for text in texts:
        *whole, rest = (rest + text).split("\n")
        yield from whole
        # A line without end, as minified code has, comes apart anywhere.
        while len(rest) > _LIMIT_CHARACTERS:
            yield rest[:_LIMIT_CHARACTERS]
            rest = rest[_LIMIT_CHARACTERS:]
    yield rest


def _parts(lines: Iterable[str]) -> Iterator[Piece]:
    held: list[str] = []
    length = 0
    follows_blank = False
    for line in lines:
        if held and _begins(line, length, follows_blank=follows_blank):
            yield _piece(held)
            held, length = [], 0
        follows_blank = not line.strip()
        if held or not follows_blank:
            held.append(line.rstrip())
            length += len(line) + 1
    yield _piece(held)


def _begins(line: str, length: int, *, follows_blank: bool) -> bool:
    if length + len(line) > _LIMIT_CHARACTERS:
        return True
    if not follows_blank or not line.strip():
        return False
    at_margin = not line[0].isspace() and not line.startswith(_CLOSING)
    return length > (_LEAST_CHARACTERS if at_margin else _MOST_CHARACTERS)


def _piece(lines: list[str]) -> Piece:
    return Piece("\n".join(lines).rstrip(), "verbatim")
