"""A document's text in consecutive sentences, block by block, each counted in the model's tokens."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from common.embedding import Tokens
from common.index.rows import MAX_TEXT_BYTES
from common.records import Kind, Page
from functions.ingest import sentences
from functions.pieces import blocks_of

# A sentence that a page's end leaves open is held until it ends, but no longer than this: far more characters than
# any chunk has.
_OPEN_CHARACTERS = 10_000
# Tokens say little of length: white space has none, an endless unknown word is one. A character has at most 4 bytes.
LONGEST = MAX_TEXT_BYTES // 4
# By how much a text alone may have more tokens than within a longer one: the mark of its beginning, and words that
# are cut at its ends; in two bilingual manuals never more than 2. Where it could matter, the text alone is counted.
EDGE_TOKENS = 3


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with the white space around it, or a piece of one that is longer than a chunk."""

    start: int
    page: int
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Segment:
    """The sentences that begin in one block. `level`: a heading's rank, 1 the highest."""

    kind: Kind
    level: int
    sentences: list[Sentence]

    @property
    def tokens(self) -> int:
        return sum(sentence.tokens for sentence in self.sentences)

    @property
    def text(self) -> str:
        return "".join(sentence.text for sentence in self.sentences)


class _Mark(NamedTuple):
    """Where a block begins, in the document's text, and its page."""

    start: int
    page: int
    kind: Kind
    level: int


def segments(pages: Iterable[Page], tokens: Tokens, limit: int) -> Iterator[Segment]:
    """The whole text, white space included. A sentence has at most `limit` tokens and `LONGEST` characters."""
    opened, offset = "", 0
    # The blocks that `opened` and the page at hand are of.
    marks: list[_Mark] = []
    for page, following in _with_next(pages):
        begins = offset + len(opened)
        blocks = blocks_of(page)
        # What stands before a page's first block, or on a page without any, is still of that page.
        marks.append(_Mark(begins, page.number, blocks[0].kind if blocks else "paragraph", 0))
        marks += (_Mark(begins + block.start, page.number, block.kind, block.level) for block in blocks)
        text = opened + page.text + "\n"
        cuts = _cuts(text, len(opened), goes_on=_goes_on(page, following))
        done = cuts[-1] if cuts else 0
        if cuts:
            yield from _Stretch(text[:done], offset, marks, tokens, limit).segments(cuts)
            # What is left open is of the last block.
            marks = marks[-1:]
        opened, offset = text[done:], offset + done
    if opened.strip():
        yield from _Stretch(opened, offset, marks, tokens, limit).segments([len(opened)])


def _with_next(pages: Iterable[Page]) -> Iterator[tuple[Page, Page | None]]:
    last: Page | None = None
    for page in pages:
        if last is not None:
            yield last, page
        last = page
    if last is not None:
        yield last, None


def _goes_on(page: Page, following: Page | None) -> bool:
    """Whether a sentence may be open at the page's end: only a paragraph's goes on on the next."""
    if page.text.endswith("\n") or following is None:
        return False
    ends, begins = page.blocks[-1:], following.blocks[:1]
    return all(block.kind in ("paragraph", "verbatim") for block in (*ends, *begins))


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

    def __init__(self, text: str, offset: int, marks: list[_Mark], tokens: Tokens, limit: int) -> None:
        self._text, self._offset, self._marks, self._tokens, self._limit = text, offset, marks, tokens, limit
        self._token_starts = [start for start, _ in tokens.spans(text)]

    def segments(self, cuts: list[int]) -> Iterator[Segment]:
        """The sentences that end at `cuts`."""
        held: list[Sentence] = []
        block: _Mark | None = None
        start = 0
        for end in cuts:
            mark = self._mark(start, self._text[start:end])
            if block is not None and mark is not block:
                yield Segment(block.kind, block.level, held)
                held = []
            block = mark
            held += self._fitting(start, end)
            start = end
        if block is not None:
            yield Segment(block.kind, block.level, held)

    def _mark(self, start: int, text: str) -> _Mark:
        # A sentence stands where what is seen of it begins.
        seen_from = self._offset + start + len(text) - len(text.lstrip())
        return self._marks[bisect_right(self._marks, seen_from, key=attrgetter("start")) - 1]

    def _fitting(self, start: int, end: int) -> Iterator[Sentence]:
        """The sentence, in pieces if it is longer than a chunk, cut between tokens where there are any."""
        first, last = bisect_left(self._token_starts, start), bisect_left(self._token_starts, end)
        while not self._fits(start, end, last - first):
            cut = self._cut(start, end, first, last)
            following = bisect_left(self._token_starts, cut, first, last)
            yield self._piece(start, cut, following - first)
            first, start = following, cut
        yield self._piece(start, end, last - first)

    def _fits(self, start: int, end: int, tokens: int) -> bool:
        if end - start > LONGEST:
            return False
        if tokens <= self._limit - EDGE_TOKENS:
            return True
        return tokens <= self._limit and self._tokens.count(self._text[start:end].strip()) <= self._limit

    def _cut(self, start: int, end: int, first: int, last: int) -> int:
        """Where the next piece begins: at the last token that may, and that begins a character of its own."""
        starts = self._token_starts
        for following in range(min(first + self._limit, last - 1), first, -1):
            own = starts[following] > starts[following - 1]
            if own and self._fits(start, starts[following], following - first):
                return starts[following]
        # One character of more tokens than fit cannot be cut; one endless token, or none, can be anywhere.
        following = bisect_right(starts, start, first, last)
        return min(starts[following] if following < last else end, start + LONGEST)

    def _piece(self, start: int, end: int, tokens: int) -> Sentence:
        text = self._text[start:end]
        return Sentence(self._offset + start, self._mark(start, text).page, text, tokens)
