"""SPLIT: clean pages to chunks that the model can take: whole paragraphs, else whole sentences, else what fits."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter

from common.context import Context
from common.embedding import Tokens
from common.index.rows import MAX_TEXT_BYTES
from common.records import Chunk, Page
from functions.ingest import sentences

# A sentence that a page's end leaves open is held until it ends, but no longer than this: far more characters than
# any chunk has.
_OPEN_CHARACTERS = 10_000
# Tokens say little of length: white space has none, an endless unknown word is one. A character has at most 4 bytes.
_LONGEST = MAX_TEXT_BYTES // 4
# By how much a text alone may have more tokens than within a longer one: the mark of its beginning, and words that
# are cut at its ends; in two bilingual manuals never more than 2. Where it could matter, the text alone is counted.
_EDGE_TOKENS = 3


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence with the white space around it, or a piece of one that is longer than a chunk."""

    start: int
    page: int
    text: str
    tokens: int


def split(ctx: Context, pages: Iterable[Page]) -> Iterator[Chunk]:
    """The document's text as chunks of at most `chunk_tokens` of the model's tokens, as short as the index takes; or of
    what its knowledge base says instead.

    `text[chunk.start:chunk.end] == chunk.text` in the document's text (common/records.py); every character but white
    space is in a chunk; a chunk repeats its page's last sentences before it where they fit in `chunk_overlap_tokens`.
    Notes `chunks`.
    """
    settings, tokens = ctx.services.settings, ctx.services.tokens
    size, overlap = settings.chunk_tokens, settings.chunk_overlap_tokens
    if ctx.target.chunk_size is not None:
        size, overlap = ctx.target.chunk_size, ctx.target.chunk_overlap or 0
    limit = min(size, tokens.max_tokens)
    packer = _Packer(tokens, limit, overlap)
    for paragraph in _paragraphs(pages, tokens, limit):
        ctx.check_cancelled()
        yield from packer.add(paragraph)
    yield from packer.emit()
    ctx.note(chunks=packer.number)


def _paragraphs(pages: Iterable[Page], tokens: Tokens, limit: int) -> Iterator[list[_Sentence]]:
    """The text in consecutive sentences, grouped as far as a paragraph lies in one page."""
    opened, offset = "", 0
    # Where the pages begin that `opened` is of, and their numbers.
    marks: list[tuple[int, int]] = []
    for page in pages:
        marks.append((offset + len(opened), page.number))
        text = opened + page.text + "\n"
        cuts = _cuts(text, len(opened), goes_on=not page.text.endswith("\n"))
        done = cuts[-1] if cuts else 0
        if cuts:
            yield from _Stretch(text[:done], offset, marks, tokens, limit).paragraphs(cuts)
            # What is left open is of this page.
            marks = marks[-1:]
        opened, offset = text[done:], offset + done
    if opened.strip():
        yield from _Stretch(opened, offset, marks, tokens, limit).paragraphs([len(opened)])


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

    def __init__(self, text: str, offset: int, marks: list[tuple[int, int]], tokens: Tokens, limit: int) -> None:
        self._text, self._offset, self._marks, self._tokens, self._limit = text, offset, marks, tokens, limit
        self._token_starts = [start for start, _ in tokens.spans(text)]

    def paragraphs(self, cuts: list[int]) -> Iterator[list[_Sentence]]:
        """The sentences that end at `cuts`."""
        paragraph: list[_Sentence] = []
        start = 0
        for end in cuts:
            paragraph += self._fitting(start, end)
            if "\n\n" in self._text[end - 2 : end]:
                yield paragraph
                paragraph = []
            start = end
        if paragraph:
            yield paragraph

    def _fitting(self, start: int, end: int) -> Iterator[_Sentence]:
        """The sentence, in pieces if it is longer than a chunk, cut between tokens where there are any."""
        first, last = bisect_left(self._token_starts, start), bisect_left(self._token_starts, end)
        while not self._fits(start, end, last - first):
            cut = self._cut(start, end, first, last)
            following = bisect_left(self._token_starts, cut, first, last)
            yield self._piece(start, cut, following - first)
            first, start = following, cut
        yield self._piece(start, end, last - first)

    def _fits(self, start: int, end: int, tokens: int) -> bool:
        if end - start > _LONGEST:
            return False
        if tokens <= self._limit - _EDGE_TOKENS:
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
        return min(starts[following] if following < last else end, start + _LONGEST)

    def _piece(self, start: int, end: int, tokens: int) -> _Sentence:
        text = self._text[start:end]
        seen_from = self._offset + start + len(text) - len(text.lstrip())
        number = self._marks[bisect_right(self._marks, seen_from, key=itemgetter(0)) - 1][1]
        return _Sentence(self._offset + start, number, text, tokens)


class _Packer:
    """Sentences to chunks. A chunk ends with a paragraph rather than in the next, if it is half full by then.

    It ends with its page in any case, and the next repeats nothing of it: a citation names the page where a chunk
    begins, so nothing of a chunk may stand on another but the end of a sentence that began there.
    """

    def __init__(self, tokens: Tokens, limit: int, overlap: int) -> None:
        self.number = 0
        self._tokens, self._limit, self._overlap = tokens, limit, overlap
        self._held: list[_Sentence] = []
        self._size = self._fresh = 0

    def add(self, paragraph: list[_Sentence]) -> Iterator[Chunk]:
        whole = sum(sentence.tokens for sentence in paragraph)
        if self._size + whole > self._limit and self._size >= self._limit / 2:
            yield from self.emit()
        for sentence in paragraph:
            blank = not sentence.text.strip()
            if self._held and (blank or sentence.page != self._held[-1].page):
                yield from self.emit()
                self._held, self._size = [], 0
            # White space that is longer than a chunk.
            if blank:
                continue
            if not self._takes(sentence):
                yield from self.emit()
                # What is repeated gives way to what is new.
                while not self._takes(sentence):
                    self._size -= self._held.pop(0).tokens
            self._held.append(sentence)
            self._size += sentence.tokens
            self._fresh += 1

    def _takes(self, sentence: _Sentence) -> bool:
        size = self._size + sentence.tokens
        if not self._held:
            return True
        if sentence.start + len(sentence.text) - self._held[0].start > _LONGEST:
            return False
        if size <= self._limit - _EDGE_TOKENS:
            return True
        return size <= self._limit and self._tokens.count(_text([*self._held, sentence]).strip()) <= self._limit

    def emit(self) -> Iterator[Chunk]:
        """The chunk held, if there is anything new in it; its last sentences stay as the next one's beginning."""
        if not self._fresh:
            return
        text = _text(self._held)
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
        self._size = sum(sentence.tokens for sentence in repeated)


def _text(consecutive: Iterable[_Sentence]) -> str:
    return "".join(sentence.text for sentence in consecutive)
