"""Where a passage has the question's words: for who shows it to people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from common.common_words import COMMON_WORDS

_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# A run of Chinese or Japanese, else a word.
_WORD = re.compile(rf"(?P<run>[{_CJK}]+)|[^\W{_CJK}]+")
# Of a question: more are no question, and each run of so many characters has 500 parts.
_MOST_WORDS = 100
_LONGEST_RUN = 32


class Highlight(NamedTuple):
    """The characters [start, end) of a passage's text."""

    start: int
    end: int


def highlights(query: str, text: str) -> list[Highlight]:
    """In order, none touching another. Words in whatever case; of Chinese, the longest parts that are in the question,
    of two characters or more."""
    words, parts = _asked(query)
    found: list[Highlight] = []
    for one in _found(words, parts, text):
        if found and one.start <= found[-1].end:
            found[-1] = Highlight(found[-1].start, one.end)
        else:
            found.append(one)
    return found


def _asked(query: str) -> tuple[set[str], set[str]]:
    words: set[str] = set()
    parts: set[str] = set()
    for number, found in enumerate(_WORD.finditer(query)):
        if number == _MOST_WORDS:
            break
        if run := found["run"]:
            run = run[:_LONGEST_RUN]
            shortest = min(2, len(run))
            parts.update(run[a:b] for a in range(len(run)) for b in range(a + shortest, len(run) + 1))
        else:
            words.add(found[0].casefold())
    return (words - COMMON_WORDS) or words, parts


def _found(words: set[str], parts: set[str], text: str) -> Iterator[Highlight]:
    for word in _WORD.finditer(text):
        if not word["run"]:
            if word[0].casefold() in words:
                yield Highlight(*word.span())
            continue
        start, end = word.span()
        while parts and start < end:
            longest = next(
                (b for b in range(min(end, start + _LONGEST_RUN), start, -1) if text[start:b] in parts), start
            )
            if longest > start:
                yield Highlight(start, longest)
            start = max(longest, start + 1)
