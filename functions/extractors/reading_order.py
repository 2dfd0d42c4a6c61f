"""The order in which a reader takes what stands on a page: columns one after the other, by a recursive XY-cut.

After Nagy and Seth (1984): a page is cut along the white that crosses all of it, and its parts in turn. A plain XY-cut
tears columns apart at every gap that happens to cross them all. So stripes of a page that share a gutter are taken
together, and a gutter counts only between what looks like columns of text: a table is read by its rows.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from common.records import Box

# A gutter is at least as wide as this many lines are high: words stand closer.
_GUTTER_HEIGHTS = 0.8
# A column's lines are so many times longer than high: a dozen letters, or six of Chinese. Cells are mostly shorter.
_COLUMN_HEIGHTS = 6
_COLUMN_LINES = 2
# Lines may reach into the next by so much of their height, with descenders.
_REACH = 0.25
# No page has columns within columns within columns.
_DEEPEST = 4
# Each stripe is compared with those above it: beyond this, a page is no text, and is read from top to bottom.
_MOST = 2000


@dataclass(frozen=True, slots=True)
class Item:
    """What is put in order: a line, or a block of `lines` of them; a line is `height` high."""

    box: Box
    height: float
    lines: int = 1


def is_contradicted(boxes: Iterable[Box]) -> bool:
    """Whether this order goes up on the page without going on to the right."""
    return any(
        bottom <= previous_top and left < previous_right
        for (_, previous_top, previous_right, _), (left, _, _, bottom) in pairwise(boxes)
    )


def reading_order(items: Sequence[Item]) -> list[int]:
    """The items' indexes in the order of reading."""
    return list(_ordered(items, list(range(len(items))), _DEEPEST if len(items) <= _MOST else 0))


def _ordered(items: Sequence[Item], members: list[int], deeper: int) -> Iterator[int]:
    if len(members) < 2 or not deeper:
        yield from _from_the_top(items, members)
        return
    for region, gutter in _regions(items, _stripes(items, members)):
        if gutter is None:
            yield from _from_the_top(items, region)
        else:
            for side in _sides(items, region, gutter):
                yield from _ordered(items, side, deeper - 1)


def _stripes(items: Sequence[Item], members: list[int]) -> Iterator[list[int]]:
    """What white that crosses the page parts, from the top."""
    stripe: list[int] = []
    bottom = float("-inf")
    for one in sorted(members, key=lambda one: items[one].box[1]):
        if stripe and items[one].box[1] >= bottom - _REACH * items[one].height:
            yield stripe
            stripe, bottom = [], float("-inf")
        stripe.append(one)
        bottom = max(bottom, items[one].box[3])
    yield stripe


def _regions(items: Sequence[Item], stripes: Iterable[list[int]]) -> Iterator[tuple[list[int], float | None]]:
    """Stripes with columns between the same gutters as one region, with its widest gutter; every other by itself."""
    held: list[list[int]] = []
    gutter: float | None = None
    for stripe in stripes:
        found = _gutter(items, [one for other in (*held, stripe) for one in other])
        if held and (gutter is None or found is None):
            yield from _settled(items, held, gutter)
            held, found = [], _gutter(items, stripe)
        held.append(stripe)
        gutter = found
    yield from _settled(items, held, gutter)


def _settled(
    items: Sequence[Item], stripes: list[list[int]], gutter: float | None
) -> Iterator[tuple[list[int], float | None]]:
    region = [one for stripe in stripes for one in stripe]
    if gutter is not None and all(_is_column(items, side) for side in _sides(items, region, gutter)):
        yield region, gutter
    else:
        yield from ((stripe, None) for stripe in stripes)


def _sides(items: Sequence[Item], members: list[int], gutter: float) -> tuple[list[int], list[int]]:
    left = [one for one in members if items[one].box[2] <= gutter]
    return left, [one for one in members if items[one].box[2] > gutter]


def _gutter(items: Sequence[Item], members: list[int]) -> float | None:
    """Where the widest white begins that goes down through all of them, if it is wide enough."""
    widest = _GUTTER_HEIGHTS * statistics.median(items[one].height for one in members)
    found: float | None = None
    reached = float("inf")
    for one in sorted(members, key=lambda one: items[one].box[0]):
        left, _, right, _ = items[one].box
        if left - reached >= widest:
            widest, found = left - reached, reached
        reached = right if reached == float("inf") else max(reached, right)
    return found


def _is_column(items: Sequence[Item], members: list[int]) -> bool:
    lines = sum(items[one].lines for one in members)
    widths = ((items[one].box[2] - items[one].box[0]) / items[one].height for one in members)
    return lines >= _COLUMN_LINES and statistics.median(widths) >= _COLUMN_HEIGHTS


def _from_the_top(items: Sequence[Item], members: list[int]) -> Iterator[int]:
    """What begins at the same height from left to right."""
    row: list[int] = []
    for one in sorted(members, key=lambda one: items[one].box[1]):
        if row and items[one].box[1] > items[row[0]].box[1] + items[row[0]].height / 2:
            yield from sorted(row, key=lambda one: items[one].box[0])
            row = []
        row.append(one)
    yield from sorted(row, key=lambda one: items[one].box[0])
