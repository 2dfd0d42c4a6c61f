"""Which lines of a PDF are headings, and of which level: by its outline, by their numbers, by how they look."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import pymupdf

from functions.extractors.printed import Layout, Print

Look = tuple[float, bool]
"""A font's size, to half a point, and whether it is bold."""

_LARGER = 1.1
_DEEPEST = 6
_LONGEST, _MOST_LINES = 200, 3
# A line as large as the text that is only bold must be shorter than that, and no sentence.
_LONGEST_BOLD = 100
_SENTENCE_END = tuple(".,;:!?。，；：！？…")
# Beyond this an outline lists more than headings.
_MOST_ENTRIES = 20_000
_NUMBERED = re.compile(r"(\d{1,3}(?:\.\d{1,3}){0,5})\.?\s+\S")
_CHAPTER = re.compile(
    r"(?:chapter|part|appendix)\s+\w{1,5}\b|第\s?[\d一二三四五六七八九十百]+\s?[章编篇部]", re.IGNORECASE
)
_SECTION = re.compile(r"第\s?[\d一二三四五六七八九十百]+\s?节")
_NUMBER = re.compile(
    r"(?:chapter|part|appendix)?(?:\d[\d.]*|[a-z](?:\.[\d.]+)?)[.:)]?|第[\d一二三四五六七八九十百]+[章节编篇部]|附录[a-z\d]*"
)
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(slots=True)
class Headings:
    """What was learnt of a document from its outline and a sample of its pages."""

    outline: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    body: float = 0.0
    # All of it looks typewritten: that says nothing of a line then.
    typewritten: bool = False
    # Of looks that the outline's titles have, and else of those larger than the text, by rank.
    levels: dict[Look, int] = field(default_factory=dict)

    def level(self, number: int, prints: Sequence[Print]) -> int:
        """Of a heading that these lines of page `number` are; 0 if they are none."""
        if len(prints) > _MOST_LINES:
            return 0
        text = " ".join(one.text for one in prints).strip()
        if not 0 < len(text) <= _LONGEST or not _LETTER.search(text):
            return 0
        if level := self._by_outline(number, text):
            return level
        look = look_of(prints[0])
        if look[0] > _LARGER * self.body:
            return self._by_number(text) or self._by_look(look)
        if look[1] and look[0] >= self.body and self._is_bold_heading(text, look):
            return self._by_number(text) or self._by_look(look)
        return 0

    def learn(self, number: int, layout: Layout) -> None:
        """Note the looks of the outline's titles on this page."""
        for block in layout.blocks:
            for one in block if number in self.outline else ():
                if level := self._by_outline(number, one.text):
                    self.levels.setdefault(look_of(one), level)

    def rank(self, larger: Counter[float]) -> None:
        """Without an outline: the larger, the higher. `larger`: lines by the size of their font."""
        if not self.levels:
            sizes = sorted(larger, reverse=True)
            self.levels = {
                (size, bold): min(rank, _DEEPEST) for rank, size in enumerate(sizes, 1) for bold in (True, False)
            }

    def _by_outline(self, number: int, text: str) -> int:
        titles = self.outline.get(number)
        if not titles:
            return 0
        key = _key(text)
        if level := titles.get(key):
            return level
        # Titles mostly come without the numbers that are printed before them.
        found = _NUMBER.match(key)
        return titles.get(key[found.end() :], 0) if found else 0

    def _by_number(self, text: str) -> int:
        if self.outline:
            return 0
        if _CHAPTER.match(text):
            return 1
        if _SECTION.match(text):
            return 2
        found = _NUMBERED.match(text)
        return found[1].count(".") + 1 if found else 0

    def _by_look(self, look: Look) -> int:
        if level := self.levels.get(look):
            return level
        lower = [level for (size, _), level in self.levels.items() if size <= look[0]]
        return min(lower) if lower else min(max(self.levels.values(), default=0) + 1, _DEEPEST)

    def _is_bold_heading(self, text: str, look: Look) -> bool:
        # An outline tells how headings look: there, bold print is no more than that.
        if self.outline:
            return look in self.levels
        return len(text) <= _LONGEST_BOLD and not text.endswith(_SENTENCE_END) and "\t" not in text


def look_of(one: Print) -> Look:
    return round(2 * one.size) / 2, one.bold


def outline(document: pymupdf.Document) -> dict[int, dict[str, int]]:
    """Levels of titles by page, both counted from 1. None where it is broken, or no outline of headings."""
    try:
        entries = document.get_toc(simple=True)
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, pymupdf.mupdf.FzErrorBase):
        return {}
    if len(entries) > _MOST_ENTRIES:
        return {}
    found: dict[int, dict[str, int]] = {}
    for level, title, number in entries:
        if key := _key(title):
            found.setdefault(number, {})[key] = min(level, _DEEPEST)
    return found


def learnt(titles: Mapping[int, Mapping[str, int]], pages: Iterable[tuple[int, Layout]]) -> Headings:
    """From a sample of the pages."""
    headings = Headings(titles)
    characters: Counter[float] = Counter()
    mono: Counter[bool] = Counter()
    lines: Counter[float] = Counter()
    for number, layout in pages:
        headings.learn(number, layout)
        for block in layout.blocks:
            for one in block:
                size = look_of(one)[0]
                characters[size] += len(one.text)
                mono[one.mono] += len(one.text)
                lines[size] += 1
    if characters:
        headings.body = characters.most_common(1)[0][0]
        headings.typewritten = mono[True] > mono[False]
        headings.rank(Counter({size: count for size, count in lines.items() if size > _LARGER * headings.body}))
    return headings


def sample(count: int, titles: Mapping[int, Mapping[str, int]], size: int) -> list[int]:
    """Numbers of at most `size` pages: half of them evenly over the document, half where the outline points."""
    everywhere = range(1, count + 1)
    even = everywhere[:: max(1, -(-count // (size if not titles else size // 2)))]
    pointed = sorted(number for number in titles if 1 <= number <= count)
    pointed = pointed[:: max(1, -(-len(pointed) // (size // 2)))]
    return sorted({*islice(even, size), *pointed})


def _key(text: str) -> str:
    return "".join(text.split()).casefold()
