"""The order in which what stands on a page is read."""

from __future__ import annotations

import random

import pytest

from common.records import Box
from functions.extractors.reading_order import Item, is_contradicted, reading_order


def block(name: str, left: float, top: float, right: float, bottom: float) -> tuple[str, Item]:
    return name, Item((left, top, right, bottom), 10, max(round((bottom - top) / 12), 1))


ACROSS = block("title", 100, 40, 500, 60)
TWO = [
    block("left", 50, 80, 290, 300),
    block("left on", 50, 330, 290, 700),
    block("right", 310, 80, 550, 330),
    block("right on", 310, 350, 550, 650),
]
FOOTNOTE = block("footnote", 50, 720, 550, 740)
THREE = [block(str(one), 40 + 180 * one, 80, 200 + 180 * one, 500) for one in range(3)]
# Gaps of both columns at the same height, where a plain XY-cut would cross them.
ALIGNED = [
    block(f"{side}{row}", left, 80 + 100 * row, left + 240, 170 + 100 * row)
    for left, side in ((50, "a"), (310, "b"))
    for row in range(3)
]
# Cells are short: this is read by its rows.
TABLE = [
    block(f"cell {row}{column}", 50 + 150 * column, 80 + 20 * row, 90 + 150 * column, 90 + 20 * row)
    for row in range(4)
    for column in range(3)
]


@pytest.mark.parametrize(
    "page",
    [
        [ACROSS, *TWO, FOOTNOTE],
        [ACROSS, *THREE, FOOTNOTE],
        [
            *TWO,
            block("across", 50, 750, 550, 770),
            block("below", 50, 780, 290, 800),
            block("beside", 310, 780, 550, 800),
        ],
        [ACROSS, *ALIGNED],
        TABLE,
        [block("one", 50, 50, 550, 200), block("two", 50, 210, 300, 230)],
        [],
    ],
)
def test_a_page_is_read_in_its_order_whatever_order_it_was_set_in(page: list[tuple[str, Item]]) -> None:
    names = [name for name, _ in page]
    for seed in range(5):
        shuffled = random.Random(seed).sample(page, len(page))
        order = reading_order([item for _, item in shuffled])
        assert [shuffled[one][0] for one in order] == names


def test_a_page_of_very_many_things_is_read_from_the_top() -> None:
    items = [Item((0, 20 * row, 100, 20 * row + 10), 10) for row in range(5000)]
    assert reading_order(items[::-1]) == list(range(5000))[::-1]


@pytest.mark.parametrize(
    ("boxes", "contradicted"),
    [
        ([(50, 80, 290, 300), (50, 310, 290, 700), (310, 80, 550, 700)], False),
        ([(50, 310, 290, 700), (50, 80, 290, 300)], True),
        ([(310, 310, 550, 700), (50, 80, 290, 300)], True),
        ([(50, 80, 290, 300), (310, 80, 550, 300)], False),
    ],
)
def test_an_order_is_contradicted_by_going_up_but_to_the_next_column(boxes: list[Box], contradicted: bool) -> None:
    assert is_contradicted(boxes) is contradicted
