"""SPLIT: clean pages to chunks that the model can take: whole sections, else whole paragraphs, else whole sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import NamedTuple

from common.chunking import Chunking, heading_room
from common.context import Context
from common.embedding import Tokens
from common.records import Chunk, Line, Page, Place
from functions.ingest.segments import EDGE_TOKENS, LONGEST, Segment, Sentence, segments

_HEADING_CHARACTERS = 200

Path = tuple[str, ...]


def split(ctx: Context, pages: Iterable[Page]) -> Iterator[Chunk]:
    """The document's text as chunks of at most `chunk_tokens` of the model's tokens, as short as the index takes; or of
    what its knowledge base says instead.

    `text[chunk.start:chunk.end] == chunk.text` in the document's text (common/records.py); every character but white
    space is in a chunk; a chunk repeats its section's last sentences before it where they fit in
    `chunk_overlap_tokens`. Notes `chunks`, and the `chunking` that made them.
    """
    tokens = ctx.services.tokens
    chunking = (ctx.target.chunking or Chunking.usual(ctx.services.settings)).within(tokens.max_tokens)
    limit = chunking.size
    places = _Places()
    packer = _Packer(tokens, limit, chunking, places)
    for segment in segments(places.watch(pages), tokens, limit):
        ctx.check_cancelled()
        yield from packer.add(segment)
    yield from packer.emit()
    ctx.note(chunks=packer.number, chunking=asdict(chunking))


class _Held(NamedTuple):
    sentence: Sentence
    path: Path


class _Packer:
    """Sentences to chunks. A chunk ends with a paragraph rather than in the next, if it is half full by then.

    It ends with its section, and with its page in any case, and the next repeats nothing of it: a citation names the
    page where a chunk begins, so nothing of a chunk may stand on another but the end of a sentence that began there.
    """

    def __init__(self, tokens: Tokens, limit: int, chunking: Chunking, places: _Places) -> None:
        self.number = 0
        self._tokens, self._limit, self._chunking = tokens, limit, chunking
        self._places = places
        self._outline = _Outline(tokens)
        self._held: list[_Held] = []
        self._size = self._fresh = 0
        # Whether there is more than headings in what is held.
        self._has_body = False

    def add(self, segment: Segment) -> Iterator[Chunk]:
        heading = segment.kind == "heading" and segment.level > 0
        if heading and self._chunking.by == "heading" and self._has_body:
            yield from self._end()
        elif self._size + segment.tokens > self._limit and self._size >= self._limit / 2:
            yield from self.emit()
        if heading:
            self._outline.leave(segment.level)
        for sentence in segment.sentences:
            blank = not sentence.text.strip()
            if self._held and (blank or sentence.page != self._held[-1].sentence.page):
                yield from self._end()
            # White space that is longer than a chunk.
            if blank:
                continue
            if not self._takes(sentence):
                yield from self.emit()
                # What is repeated gives way to what is new.
                while not self._takes(sentence):
                    self._size -= self._held.pop(0).sentence.tokens
            self._held.append(_Held(sentence, self._outline.path))
            self._size += sentence.tokens
            self._fresh += 1
            self._has_body = self._has_body or not heading
        if heading:
            self._outline.enter(segment.level, segment.text)

    def _takes(self, sentence: Sentence) -> bool:
        size = self._size + sentence.tokens
        if not self._held:
            return True
        if sentence.start + len(sentence.text) - self._held[0].sentence.start > LONGEST:
            return False
        if size <= self._limit - EDGE_TOKENS:
            return True
        return size <= self._limit and self._tokens.count((_text(self._held) + sentence.text).strip()) <= self._limit

    def _end(self) -> Iterator[Chunk]:
        yield from self.emit()
        self._held, self._size, self._has_body = [], 0, False

    def emit(self) -> Iterator[Chunk]:
        """The chunk held, if there is anything new in it; its last sentences stay as the next one's beginning."""
        if not self._fresh:
            return
        text = _text(self._held)
        first = self._held[0]
        start, text = first.sentence.start + len(text) - len(text.lstrip()), text.strip()
        end = start + len(text)
        yield Chunk(self.number, first.sentence.page, start, end, text, first.path, self._places.within(start, end))
        self.number += 1
        kept = 0
        repeated: list[_Held] = []
        for held in reversed(self._held[1:]):
            kept += held.sentence.tokens
            if kept > self._chunking.overlap:
                break
            repeated.insert(0, held)
        self._held, self._fresh = repeated, 0
        self._size = sum(held.sentence.tokens for held in repeated)


class _Outline:
    """The headings under which the text stands that is read just now; the innermost, if they are long."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._above: list[tuple[int, str, int]] = []  # each heading with its level before and its tokens behind it
        self.path: Path = ()

    def leave(self, level: int) -> None:
        """A heading of this level begins: those of its own and lower ranks are over."""
        while self._above and self._above[-1][0] >= level:
            self._above.pop()
        self._refresh()

    def enter(self, level: int, heading: str) -> None:
        heading = " ".join(heading.split())[:_HEADING_CHARACTERS]
        self._above.append((level, heading, self._tokens.count(heading)))
        self._refresh()

    def _refresh(self) -> None:
        path: list[str] = []
        room = heading_room(self._tokens.max_tokens)
        for _, heading, tokens in reversed(self._above):
            # The newline behind it, and its first word's mark, are a token at most.
            room -= tokens + 1
            if room < 0:
                break
            path.insert(0, heading)
        self.path = tuple(path)


class _Places:
    """Where the lines stand that chunks may still be made of."""

    def __init__(self) -> None:
        self._lines: list[tuple[Line, int, int]] = []  # each with its page and its end

    def watch(self, pages: Iterable[Page]) -> Iterator[Page]:
        offset = 0
        for page in pages:
            ends = [*(line.start for line in page.lines[1:]), len(page.text)]
            self._lines += (
                (Line(offset + line.start, line.box), page.number, offset + end)
                for line, end in zip(page.lines, ends, strict=False)
            )
            yield page
            offset += len(page.text) + 1

    def within(self, start: int, end: int) -> tuple[Place, ...]:
        """Of these characters; `start` never goes back."""
        self._lines = [line for line in self._lines if line[2] > start]
        return tuple(Place(page, line.box) for line, page, _ in self._lines if line.start < end)


def _text(consecutive: Iterable[_Held]) -> str:
    return "".join(held.sentence.text for held in consecutive)
