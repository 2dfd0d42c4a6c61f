from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

import pytest

from functions.extractors.tables import Columns, rows

PEOPLE = [["Name", "Age"], ["Ann", "42"], ["李明", "7"]]


def texts(cells: Sequence[Sequence[str]], has_header: bool | None = None) -> list[str]:
    pieces = list(rows(cells, has_header=has_header))
    assert {piece.kind for piece in pieces} <= {"row"}
    return [piece.text for piece in pieces]


def test_each_value_is_told_with_its_header() -> None:
    assert texts(PEOPLE, True) == texts(PEOPLE) == ["Name: Ann; Age: 42", "Name: 李明; Age: 7"]
    assert texts(PEOPLE, False) == ["Name\tAge", "Ann\t42", "李明\t7"]


def test_empty_cells_and_rows_are_left_out_and_columns_keep_their_places() -> None:
    assert texts([["A", "B", "C", ""], ["", "", "3"], ["", " "], [], ["1", "\n", "x\n y", "more"]]) == [
        "C: 3",
        "A: 1; C: x y; more",
    ]
    assert texts([["1", "", "3", ""], ["", "2"]]) == ["1\t3", "2"]


@pytest.mark.parametrize(
    "first",
    [
        ["Name", ""],
        ["Name", "", "Town"],
        ["Name", "42"],
        ["Name", "2024-01-31"],
        ["yes", "yes"],
        ["Name:", "Ann"],
        ["姓名：", "李明"],
        ["A" * 61, "B"],
        ["only"],
    ],
)
def test_what_does_not_look_like_headers_is_a_row(first: list[str]) -> None:
    plain = "\t".join(filter(None, first))
    assert texts([first, ["1", "2"]])[0] == plain
    assert texts([first, ["1", "2"]])[1] == "1\t2"


def test_a_title_above_the_headers_is_told_once() -> None:
    assert texts([["Staff of 2024"], [], *PEOPLE]) == ["Staff of 2024", "Name: Ann; Age: 42", "Name: 李明; Age: 7"]


def test_a_declared_header_need_not_look_like_one() -> None:
    assert texts([["", "2023", "2024:"], ["Sum", "1", "2"]], True) == ["Sum; 2023: 1; 2024: 2"]
    assert texts([["Name"], ["Ann"]], True) == ["Name: Ann"]


def test_a_table_that_is_only_its_header_is_not_lost() -> None:
    assert texts([["Name", "Age"]]) == texts([["Name", "Age"]], True) == ["Name\tAge"]
    assert texts([]) == texts([[], [""]]) == []


def test_a_long_header_is_told_once_and_shortened_where_it_is_repeated() -> None:
    long = "word " * 30 + "end"
    short = f"{long[:59].rstrip()}…"
    assert texts([[long, "B"], ["1", "2"]], True) == [f"{long}\tB", f"{short}: 1; B: 2"]
    assert texts([[long, "B"]], True) == [f"{long}\tB"]


def test_a_cell_far_to_the_right_takes_the_next_place_and_keeps_it() -> None:
    columns = Columns()
    assert columns.row([(1, "a"), (16_383, "x")]) == ["", "a", *[""] * 254, "x"]
    assert columns.row([(700, "y"), (16_383, "x")])[256:] == ["x", "y"]


def test_rows_come_as_they_are_read() -> None:
    def endless() -> Iterator[list[str]]:
        yield ["Name", "Age"]
        yield from repeat(["Ann", "42"])

    assert next(rows(endless(), has_header=None)).text == "Name: Ann; Age: 42"
