"""What a step made of a document, read a page at a time from any byte on: never the whole of it."""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec
from sqlalchemy import Connection, text

from common.errors import NotFound, Rejected, RequestError

# The steps whose artifacts are read for as long as their version is there: text, clean text, chunks.
EXTRACTED, CLEANED, CHUNKED = READ_STEPS = ("EXTRACT_TEXT", "PREPROCESS", "SPLIT")
# Of one answer. A record has at most 200 kB: 50,000 characters of text.
_ANSWER_BYTES = 1 << 20
_CLEARED = "What was made of this version has been cleared away: reprocess the document, or ask for a newer version."


class Store(Protocol):
    def lines(self, key: str, span: tuple[int, int] | None) -> Iterator[bytes]: ...


T = TypeVar("T")


class Position(msgspec.Struct, array_like=True, frozen=True):
    """Where an answer ended: a byte of what was made of this version. Whoever goes on stays with that version."""

    version: int
    offset: int

    @classmethod
    def read(cls, cursor: str) -> Position:
        """Raises `RequestError` (INVALID_CURSOR)."""
        try:
            found = msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode("ascii")), type=cls)
        except (ValueError, msgspec.MsgspecError) as error:
            raise _no_cursor() from error
        if not 0 <= found.version < 1 << 31 or found.offset < 0:
            raise _no_cursor()
        return found

    def cursor(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()


@dataclass(frozen=True, slots=True)
class Made:
    """A step's artifact. `cuts`: the bytes after every so many records, the last is its end."""

    inline: bytes | None
    key: str | None
    cuts: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.cuts[-1] if self.cuts else len(self.inline or b"")


def find(connection: Connection, task_id: str, step_name: str) -> Made | None:
    """What the step made; None while it has not. Raises `NotFound` (CLEARED_AWAY) when it is there no more."""
    row = connection.execute(
        text("""
            SELECT output, output_key, output_cuts FROM task_details
            WHERE (task_id, step_name, batch) = (:task, :step, 0) AND status = 'COMPLETED'
        """),
        {"task": task_id, "step": step_name},
    ).one_or_none()
    if row is None:
        return None
    if row.output is None and row.output_key is None:
        raise NotFound(_CLEARED, code="CLEARED_AWAY")
    inline = None if row.output is None else bytes(row.output)
    return Made(inline, row.output_key, tuple(row.output_cuts or ()))


class Reader(Generic[T]):
    """Reads records of one type. `page_of`: the field that has a record's page number; these never go back."""

    def __init__(self, store: Store, made: Made, record: type[T], page_of: str) -> None:
        self._store, self._made, self._page_of = store, made, page_of
        self._decode = msgspec.json.Decoder(record).decode

    def read(self, start: int, *, limit: int, page: int | None = None) -> tuple[list[T], int | None]:
        """Up to `limit` records from a byte on, of this page only, if given; and where the next begins, if any does.

        Raises `RequestError` if no record begins at that byte, `NotFound` (CLEARED_AWAY) when they are gone.
        """
        if start > self._made.end:
            raise _no_cursor()
        if page is not None and start < self._made.end and self._page_at(start) < page:
            start = max(start, self._before(page))
        found: list[T] = []
        position = start
        while position < self._made.end:
            for line in self._lines(position):
                record = self._decode(line)
                number = self._number(record)
                if page is not None and number > page:
                    return found, None
                wanted = page is None or number == page
                if wanted and found and (len(found) == limit or position + len(line) - start > _ANSWER_BYTES):
                    return found, position
                position += len(line) + 1
                if wanted:
                    found.append(record)
                else:
                    start = position  # what is passed over counts for nothing
        return found, None

    def _before(self, page: int) -> int:
        """The last cut before which no record of the page stands: what is looked through from there is little."""
        starts = [start for start in (0, *self._made.cuts) if start < self._made.end]
        first = bisect_left(starts, page, key=self._page_at)
        return starts[first - 1] if first else 0

    def _page_at(self, start: int) -> int:
        """The page of the record that begins at this byte."""
        with closing(self._lines(start)) as lines:
            return self._number(self._decode(next(lines)))

    def _number(self, record: T) -> int:
        return int(getattr(record, self._page_of))

    def _lines(self, start: int) -> Generator[bytes, None, None]:
        """The records from this byte on, up to a cut that lies beyond what one answer holds."""
        end = next((cut for cut in self._made.cuts if cut >= start + _ANSWER_BYTES), self._made.end)
        # One byte more: the one before a record's first is a newline.
        span = (max(start - 1, 0), end)
        try:
            with closing(self._open(span)) as lines:
                if start and next(lines, None) != b"":
                    raise _no_cursor()
                yield from lines
        except Rejected as error:
            raise NotFound(_CLEARED, code="CLEARED_AWAY") from error

    def _open(self, span: tuple[int, int]) -> Generator[bytes, None, None]:
        if self._made.inline is not None:
            yield from self._made.inline[slice(*span)].splitlines()
        else:
            yield from self._store.lines(str(self._made.key), span)


def _no_cursor() -> RequestError:
    return RequestError("The cursor is none that this call gave.", code="INVALID_CURSOR")
