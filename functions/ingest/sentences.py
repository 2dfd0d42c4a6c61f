"""Where sentences end, in Chinese and in Western languages."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CLOSING = "\"'”’»』」）》〉】〕)\\]"
_END = re.compile(
    rf"(?P<cjk>[。！？；｡…][。！？；｡…!?]*[{_CLOSING}]*)\s*"
    # A run is tried from its beginning only: from each of its characters takes the square of its length.
    rf"|(?P<western>(?:;|(?<![.!?])[.!?])[.!?]*+[{_CLOSING}]*+)\s+"
    r"|\n\s*"
)
# After these a full stop ends nothing.
_ABBREVIATIONS = frozenset(
    (
        *("mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "inc", "ltd", "co", "corp", "dept", "al", "ed", "eds"),
        *("fig", "figs", "nr", "vol", "vols", "ch", "sec", "eq", "ref", "refs", "abb"),
        *("jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"),
        *("vs", "cf", "viz", "ca", "approx", "e.g", "i.e", "z.b", "d.h", "bzw", "usw", "bspw"),
    )
)
# After these it ends nothing before a number: “No. 5”, but “No. Never.”
_BEFORE_NUMBERS = frozenset(("no", "nos", "art", "p", "pp"))
_LAST_WORD = re.compile(r"[^\W\d_][\w.]*$")
_LONGEST_ABBREVIATION = 8


def ends(text: str, start: int = 0) -> Iterator[tuple[int, bool]]:
    """Where each sentence from `start` on ends, the white space behind it included, and whether punctuation ended it.

    A newline ends a sentence too. What is behind the last end is unfinished.
    """
    for found in _END.finditer(text, start):
        if found["western"] and "\n" not in found[0] and not _is_end(text, found):
            continue
        yield found.end(), bool(found["cjk"] or found["western"])


def _is_end(text: str, found: re.Match[str]) -> bool:
    if found["western"][0] != ".":
        return True
    following = text[found.end() : found.end() + 1]
    if following.islower() or (found["western"][:2] == ".." and not following.isupper()):
        return False
    last = _LAST_WORD.search(text, max(0, found.start() - _LONGEST_ABBREVIATION), found.start())
    if last is None:
        return True
    word = last[0].lower()
    # A single capital is an initial: J. Smith.
    initial = len(word) == 1 and last[0].isupper()
    return not (initial or word in _ABBREVIATIONS or (word in _BEFORE_NUMBERS and following.isdigit()))
