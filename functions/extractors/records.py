"""Long texts as records of bounded size, so that nobody downstream holds much."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.records import Page

# Characters of one record: small enough for flat memory, large enough that records cost nothing.
RECORD_CHARACTERS = 50_000


def in_records(texts: Iterable[str], number: int = 1) -> Iterator[Page]:
    """The concatenated texts as records of page `number`, at least one, cut where it changes least."""
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


def _cut(text: str, start: int) -> tuple[int, int]:
    """Where the record from `start` ends and the next begins: at a paragraph's end, a line's, a word's, or anywhere."""
    limit = start + RECORD_CHARACTERS
    for separator in ("\n\n", "\n", " "):
        found = text.rfind(separator, start + RECORD_CHARACTERS // 2, limit)
        if found >= 0:
            # The newline that follows every record stands for the separator's last character.
            return found + len(separator) - 1, found + len(separator)
    return limit, limit
