"""SPLIT: clean pages to chunks that the model can take: whole paragraphs, else whole sentences, else what fits."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from common.context import Context
from common.embedding import Tokens
from common.records import Chunk, Page
from functions.ingest import sentences

# A sentence that a page's end leaves open is held until it ends, but no longer than this: far more characters than
# any chunk has.
_OPEN_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence with the white space around it, or a piece of one that is longer than a chunk."""

    start: int
    page: int
    text: str
    tokens: int


def split(ctx: Context, pages: Iterable[Page]) -> Iterator[Chunk]:
    """The document's text as chunks of at most `chunk_tokens` of the model's tokens.

    `text[chunk.start:chunk.end] == chunk.text` in the document's text (common/records.py); every character but white
    space is in a chunk; a chunk repeats its predecessor's last sentences where they fit in `chunk_overlap_tokens`.
    Notes `chunks`.
    """
    settings, tokens = ctx.services.settings, ctx.services.tokens
    limit = min(settings.chunk_tokens, tokens.max_tokens)
    packer = _Packer(limit, settings.chunk_overlap_tokens)
    for paragraph in _paragraphs(pages, tokens, limit):
        ctx.check_cancelled()
        yield from packer.add(paragraph)
    yield from packer.emit()
    ctx.note(chunks=packer.number)


def _paragraphs(pages: Iterable[Page], tokens: Tokens, limit: int) -> Iterator[list[_Sentence]]:
    """The text in consecutive sentences, grouped as far as a paragraph lies in one page."""
    opened, opened_page, offset = "", 1, 0
    for page in pages:
        text = opened + page.text + "\n"
        if not opened.strip():
            opened_page = page.number
        cuts = _cuts(text, len(opened), goes_on=not page.text.endswith("\n"))
        if cuts:
            finished = _Stretch(text[: cuts[-1]], offset, tokens, limit)
            yield from finished.paragraphs(cuts, len(opened), opened_page, page.number)
            opened, opened_page, offset = text[cuts[-1] :], page.number, offset + cuts[-1]
        else:
            opened = text
    if opened.strip():
        yield from _Stretch(opened, offset, tokens, limit).paragraphs([len(opened)], 0, opened_page, opened_page)


def _cuts(text: str, searched: int, *, goes_on: bool) -> list[int]:
    """Where the sentences that are complete in `text` end; none ends before `searched`."""
    ends = list(sentences.ends(text, searched))
    # The newline between two pages ends nothing by itself: a sentence may go on behind it.
    if goes_on and ends and ends[-1] == (len(text), False):
        ends.pop()
    cuts: list[int] = []
    last = 0
    for end, _ in ends:
        if not text[last:end].isspace():
            cuts.append(end)
            last = end
    if len(text) - last > _OPEN_CHARACTERS and not text[last:].isspace():
        cuts.append(len(text))
    return cuts


class _Stretch:
    """A stretch of complete sentences, tokenized once."""

    def __init__(self, text: str, offset: int, tokens: Tokens, limit: int) -> None:
        self._text, self._offset, self._limit = text, offset, limit
        self._token_starts = [start for start, _ in tokens.spans(text)]

    def paragraphs(self, cuts: list[int], boundary: int, before: int, after: int) -> Iterator[list[_Sentence]]:
        """The sentences that end at `cuts`; they are on page `before` if they begin before `boundary`, else `after`."""
        paragraph: list[_Sentence] = []
        start = 0
        for end in cuts:
            text = self._text[start:end]
            blank = len(text) - len(text.lstrip())
            page = before if start + blank < boundary else after
            paragraph += self._fitting(start, end, page)
            if text.count("\n", len(text.rstrip())) > 1:
                yield paragraph
                paragraph = []
            start = end
        if paragraph:
            yield paragraph

    def _fitting(self, start: int, end: int, page: int) -> Iterator[_Sentence]:
        """The sentence, in pieces cut between tokens if it is longer than the limit."""
        first, last = bisect_left(self._token_starts, start), bisect_left(self._token_starts, end)
        while last - first > self._limit:
            following = self._cut(first)
            cut = self._token_starts[following]
            yield self._piece(start, cut, page, following - first)
            first, start = following, cut
        yield self._piece(start, end, page, last - first)

    def _cut(self, first: int) -> int:
        """The token that begins the next piece: the last within the limit that begins a character of its own."""
        starts = self._token_starts
        following = bisect_left(starts, starts[first + self._limit], first)
        # One character of more tokens than fit cannot be cut.
        return following if following > first else bisect_left(starts, starts[first] + 1)

    def _piece(self, start: int, end: int, page: int, tokens: int) -> _Sentence:
        return _Sentence(self._offset + start, page, self._text[start:end], tokens)


class _Packer:
    """Sentences to chunks. A chunk ends with a paragraph rather than in the next, if it is half full by then."""

    def __init__(self, limit: int, overlap: int) -> None:
        self.number = 0
        self._limit, self._overlap = limit, overlap
        self._held: list[_Sentence] = []
        self._tokens = self._fresh = 0

    def add(self, paragraph: list[_Sentence]) -> Iterator[Chunk]:
        whole = sum(sentence.tokens for sentence in paragraph)
        if self._tokens + whole > self._limit and self._tokens >= self._limit / 2:
            yield from self.emit()
        for sentence in paragraph:
            if self._tokens + sentence.tokens > self._limit:
                yield from self.emit()
                # What is repeated gives way to what is new.
                while self._held and self._tokens + sentence.tokens > self._limit:
                    self._tokens -= self._held.pop(0).tokens
            self._held.append(sentence)
            self._tokens += sentence.tokens
            self._fresh += 1

    def emit(self) -> Iterator[Chunk]:
        """The chunk held, if there is anything new in it; its last sentences stay as the next one's beginning."""
        if not self._fresh:
            return
        text = "".join(sentence.text for sentence in self._held)
        blank = len(text) - len(text.lstrip())
        start, text = self._held[0].start + blank, text.strip()
        yield Chunk(self.number, self._held[0].page, start, start + len(text), text)
        self.number += 1
        kept = 0
        repeated: list[_Sentence] = []
        for sentence in reversed(self._held[1:]):
            kept += sentence.tokens
            if kept > self._overlap:
                break
            repeated.insert(0, sentence)
        self._held, self._fresh = repeated, 0
        self._tokens = sum(sentence.tokens for sentence in repeated)
