from __future__ import annotations

from functions.extractors.written import writable
from functions.pieces import RECORD_CHARACTERS, Piece, compose, pieces_of, records_of

_PIECES = [Piece("A heading", "heading", 1), Piece("a", "row"), Piece("b", "row"), Piece("x\n\ny", "verbatim")]


def test_a_page_that_is_a_record_and_may_be_written_stays_as_it_is() -> None:
    page = compose(3, _PIECES)
    assert list(records_of(page, writable)) == [page]


def test_a_page_loses_what_may_not_be_written_and_its_blocks_stay_right() -> None:
    (found,) = records_of(compose(3, [Piece("Nothing\0", "heading", 1), *_PIECES]), writable)
    assert list(pieces_of(found)) == [Piece("Nothing", "heading", 1), *_PIECES]


def test_a_page_that_is_too_long_for_a_record_becomes_several_of_its_number() -> None:
    pieces = [Piece("word " * 2000 + "end")] * 12
    found = list(records_of(compose(3, pieces), writable))
    assert len(found) > 1
    assert all(one.number == 3 and len(one.text) <= RECORD_CHARACTERS for one in found)
    assert [piece for one in found for piece in pieces_of(one)] == pieces
