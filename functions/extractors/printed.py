"""Lines of print and where they stand: what a PDF's text layer gives, and OCR."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from common.records import Box

# In units of the font's size. Words are a fourth apart, at most 1.2 where a line is stretched.
_TOUCHING, _WORDS_APART = 0.12, 1.5
_MONO_WIDTH = 0.6
_MOST_INDENT = 40
# What stands before an item or a heading, however far.
_MARK = re.compile(r"[^\w\s]\Z|\(?\w{1,4}[.)、]\Z|\d+(?:\.\d+)*\Z")


class Print(NamedTuple):
    """A line of print. `size`: of its font, in points. A tab in its text parts what stands far apart."""

    text: str
    box: Box
    size: float
    bold: bool
    mono: bool
    upright: bool = True


@dataclass(slots=True)
class Layout:
    """A page: blocks of print in the order they were set, and the rules on it.

    `vectors`: how many things are drawn in all. `height`: the page's, in points.
    """

    blocks: list[list[Print]] = field(default_factory=list)
    rules: list[Box] = field(default_factory=list)
    vectors: int = 0
    height: float = 0.0


def joined(prints: Iterable[Print]) -> list[Print]:
    """Those that stand beside each other as one line: its words apart by spaces, what is farther away by tabs."""
    lines: list[Print] = []
    for one in prints:
        if lines and _is_beside(lines[-1], one):
            lines[-1] = _together(lines[-1], one)
        else:
            lines.append(one)
    return lines


def union(boxes: Iterable[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _is_beside(line: Print, other: Print) -> bool:
    _, top, right, bottom = line.box
    left, other_top, _, other_bottom = other.box
    shared = min(bottom, other_bottom) - max(top, other_top)
    if not (line.upright and other.upright) or left <= right - 0.5 * other.size:
        return False
    return shared > 0.5 * min(bottom - top, other_bottom - other_top)


def _together(line: Print, other: Print) -> Print:
    gap = (other.box[0] - line.box[2]) / max(line.size, other.size, 1.0)
    mono = line.mono and other.mono
    if mono:
        between = " " * min(max(round(gap / _MONO_WIDTH), 1), _MOST_INDENT)
    elif gap <= _TOUCHING:
        between = ""
    elif gap <= _WORDS_APART or _MARK.match(line.text.strip()):
        between = " "
    else:
        between = "\t"
    leading = line if len(line.text) >= len(other.text) else other
    return Print(
        f"{line.text.rstrip() if between else line.text}{between}{other.text.lstrip() if between else other.text}",
        union((line.box, other.box)),
        leading.size,
        line.bold and other.bold,
        mono,
        line.upright,
    )
