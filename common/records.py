"""What functions take and make: frozen records. A step's artifact is one record or a stream of them.

Text offsets count characters (code points) in the document's text: the texts of its pages, in order, each followed
by one newline. So `page.start` of a page is the sum of the lengths of the pages before it plus one each.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pin:
    """The immutable bytes a task works on, whatever happens to the key meanwhile."""

    bucket: str
    key: str
    etag: str
    size: int
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A validated object: its pin and what it is, judged by its content."""

    pin: Pin
    name: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page's text. A page too long for one record goes on in the next, under the same number.

    `number` counts from 1; formats without pages have one page.
    """

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: the characters [start, end) of the document's text; `page` is where it starts."""

    number: int
    page: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk with its embedding: little-endian float32, `dimension` of them."""

    chunk: Chunk
    vector: bytes
