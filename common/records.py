"""What functions take and make: frozen records. A step's artifact is one record or a stream of them.

Text offsets count characters (code points) in the document's text: the texts of its pages, in order, each followed
by one newline. So `page.start` of a page is the sum of the lengths of the pages before it plus one each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec


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


Kind = Literal["paragraph", "heading", "item", "row", "verbatim"]
"""What a block is. Verbatim: its lines are meant, as of code."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in points from the page's upper left corner; a picture has a point for each pixel."""


class Block(NamedTuple):
    """A part of a page that belongs together: the characters [start, end) of its text; between two is white space.

    `level`: a heading's rank, 1 the highest; 0 for all else.
    """

    start: int
    end: int
    kind: Kind = "paragraph"
    level: int = 0


class Line(NamedTuple):
    """Where the text from the character `start` to the next line's stands on the page."""

    start: int
    box: Box


# Structs and no dataclasses, as these can leave out what is empty: most artifacts are streams of them.
class Page(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page's text. A page too long for one record goes on in the next, under the same number.

    `number` counts from 1; formats without pages have one page. `blocks`: none where nothing is known but the text.
    `lines`: of formats that have places, for all of the text or none of it.
    """

    number: int
    text: str
    blocks: tuple[Block, ...] = ()
    lines: tuple[Line, ...] = ()


class Place(NamedTuple):
    """Where a line of a passage stands."""

    page: int
    box: Box


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A passage: the characters [start, end) of the document's text; `page` is where it starts.

    `headings`: those it stands under, the highest first; the ones in its own text are not among them. `places`: its
    lines, of formats that have places.
    """

    number: int
    page: int
    start: int
    end: int
    text: str
    headings: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()

    @property
    def passage(self) -> str:
        """What the model and the keyword index read of it: it is found by what it stands under, too."""
        return "\n".join((*self.headings, self.text))


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk with its embedding: little-endian float32, `dimension` of them; `model` tells which one made it."""

    chunk: Chunk
    vector: bytes
    model: str = ""
