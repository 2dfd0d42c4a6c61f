from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from common.records import Line, Page
from functions.ingest.furniture import without_furniture
from functions.pieces import Piece, compose


def _piece(text: str, top: float) -> Piece:
    return Piece(text, lines=(Line(0, (50.0, top, 300.0, top + 10)),))


def _page(number: int, *, head: str = "", foot: str = "") -> Page:
    body = [_piece(f"Body {letter * number} of this page.", 100.0 + 50 * at) for at, letter in enumerate("abc")]
    pieces = [*([_piece(head, 30.0)] if head else ()), *body, *([_piece(foot, 800.0)] if foot else ())]
    return compose(number, pieces)


def _texts(pages: list[Page]) -> tuple[list[str], dict[str, Any]]:
    noted: dict[str, Any] = {}
    return [page.text for page in without_furniture(pages, noted.update)], noted


def test_page_numbers_go_and_of_a_running_head_the_first_stays() -> None:
    pages = [_page(n, head="The Administrator's Handbook", foot=f"— {n} —") for n in range(1, 30)]
    texts, noted = _texts(pages)
    assert not any("—" in text for text in texts)
    assert [n for n, text in enumerate(texts, start=1) if "Handbook" in text] == [1]
    assert all(text.count("Body") == 3 for text in texts)
    assert noted == {"furniture": 29 + 28}


def test_heads_of_left_and_right_pages_and_roman_numbers_are_seen() -> None:
    roman = ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii"]
    pages = [_page(n, head=["第一章 网络", "Debian 手册"][n % 2], foot=roman[n - 1]) for n in range(1, 9)]
    texts, _ = _texts(pages)
    assert sum("网络" in text for text in texts) == sum("手册" in text for text in texts) == 1
    assert [text.splitlines()[-1] for text in texts] == [f"Body {'c' * n} of this page." for n in range(1, 9)]


def test_what_stands_twice_or_elsewhere_on_the_page_is_text() -> None:
    twice = [_page(1, head="Once"), _page(2, head="Once"), _page(3, head="Else")]
    assert _texts(twice)[0] == [page.text for page in twice]
    moving = [compose(n, [_piece("Note", 100.0 + 40 * n), _piece("Word " * n + "end", 700.0)]) for n in range(1, 6)]
    assert _texts(moving)[0] == [page.text for page in moving]


def test_a_page_that_says_only_what_its_neighbours_say_with_another_number_keeps_it() -> None:
    tickets = [compose(n, [_piece(f"Ticket {n} for seat {n}", 72.0), _piece(f"{n}", 800.0)]) for n in range(1, 30)]
    assert _texts(tickets)[0] == [f"Ticket {n} for seat {n}" for n in range(1, 30)]


def test_pages_without_places_flow_one_at_a_time() -> None:
    taken = []

    def pages() -> Iterator[Page]:
        for number in range(1, 4):
            taken.append(number)
            yield Page(number, "text" if number > 1 else "")

    flow = without_furniture(pages(), lambda **_: None)
    assert next(flow).number == 1
    assert taken == [1]
    assert [page.number for page in flow] == [2, 3]
