"""SPLIT on what extractors know of a document: its headings, rows and places."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from common.chunking import HEADING_TOKENS, Chunking
from common.records import Chunk, Line, Page
from common.settings import Settings
from functions.ingest.split import split
from functions.pieces import RECORD_CHARACTERS, Piece, compose, in_records, pieces_of
from tests.unit.stand_ins import Words, context


def _split(
    pages: Iterable[Page], *, size: int = 32, overlap: int = 0, by: Literal["heading", "page"] = "heading"
) -> list[Chunk]:
    ctx = context(settings=Settings(), tokens=Words())
    object.__setattr__(ctx.target, "chunking", Chunking(size, overlap, by))
    return list(split(ctx, pages))


def _heading(text: str, level: int) -> Piece:
    return Piece(text, "heading", level)


def _manual() -> Page:
    return compose(
        1,
        [
            _heading("Networks", 1),
            _heading("Interfaces", 2),
            Piece("Set one up. It is easy."),
            _heading("Names", 2),
            Piece("They are resolved."),
            _heading("Disks", 1),
            Piece("They are many."),
        ],
    )


def test_a_page_that_is_too_long_for_a_record_goes_on_in_the_next_as_one_text() -> None:
    pieces = [Piece(f"{number} " + "x" * 999) for number in range(120)]
    records = list(in_records(pieces, 7))
    assert {record.number for record in records} == {7}
    assert max(len(record.text) for record in records) <= RECORD_CHARACTERS
    assert "\n".join(record.text for record in records) == compose(7, pieces).text
    assert [piece for record in records for piece in pieces_of(record)] == pieces


def test_a_chunk_ends_with_its_section_and_knows_what_it_stands_under() -> None:
    chunks = _split([_manual()])
    assert [(chunk.headings, chunk.text) for chunk in chunks] == [
        ((), "Networks\n\nInterfaces\n\nSet one up. It is easy."),
        (("Networks",), "Names\n\nThey are resolved."),
        ((), "Disks\n\nThey are many."),
    ]
    assert chunks[1].passage == "Networks\nNames\n\nThey are resolved."


def test_by_page_headings_end_nothing_but_are_known() -> None:
    (chunk,) = _split([_manual()], by="page")
    assert chunk.text.startswith("Networks")
    assert chunk.text.endswith("many.")


def test_a_long_section_goes_on_under_its_own_heading_on_the_next_page_too() -> None:
    body = " ".join(f"Word {'w ' * 10}number." for _ in range(6))
    pages = [compose(1, [_heading("Deep", 1), Piece(body)]), compose(2, [Piece(body)])]
    chunks = _split(pages)
    assert chunks[0].headings == ()
    assert {chunk.headings for chunk in chunks[1:]} == {("Deep",)}
    assert {chunk.page for chunk in chunks} == {1, 2}


def test_headings_that_are_too_long_give_way_from_the_outermost() -> None:
    long = " ".join("w" for _ in range(HEADING_TOKENS - 3))
    page = compose(
        1, [_heading("Top", 1), _heading(long, 2), _heading("Low", 3), Piece("x y."), _heading("Last", 3), Piece("z.")]
    )
    assert [chunk.headings for chunk in _split([page], size=256)] == [(), ("Top", long)]
    longer = compose(1, [_heading("Top", 1), _heading(long + " w w", 2), Piece("x."), _heading("Low", 3), Piece("z.")])
    assert [chunk.headings for chunk in _split([longer], size=256)] == [(), (long + " w w",)]


def test_rows_are_not_cut_where_they_fit() -> None:
    rows = [Piece(f"Name: n{number}; Text: One. Two. Three.", "row") for number in range(12)]
    chunks = _split([compose(1, rows)], size=24)
    assert [line for chunk in chunks for line in chunk.text.split("\n")] == [row.text for row in rows]


def test_a_chunk_has_the_places_of_its_lines_and_no_others() -> None:
    def placed(top: float, text: str) -> Piece:
        first, _, _ = text.partition("\n")
        boxes = (Line(0, (10.0, top, 90.0, top + 9)), Line(len(first) + 1, (10.0, top + 10, 60.0, top + 19)))
        return Piece(text, lines=boxes)

    one, two = placed(100.0, "a b c d\ne f."), placed(140.0, "g h\ni j.")
    pages = [compose(1, [one]), compose(2, [two])]
    chunks = _split(pages)
    assert [[(place.page, place.box[1]) for place in chunk.places] for chunk in chunks] == [
        [(1, 100.0), (1, 110.0)],
        [(2, 140.0), (2, 150.0)],
    ]


_pieces = st.builds(
    Piece,
    st.text("ab. 。\n", min_size=1, max_size=60).filter(lambda text: text.strip() == text),
    st.sampled_from(["paragraph", "heading", "item", "row", "verbatim"]),
    st.integers(1, 3),
)


@given(st.lists(st.lists(_pieces, max_size=6), max_size=4), st.integers(16, 40), st.integers(0, 8))
def test_the_invariants_hold_for_any_structure(pages: list[list[Any]], size: int, overlap: int) -> None:
    composed = [compose(number, pieces) for number, pieces in enumerate(pages, start=1)]
    whole = "".join(page.text + "\n" for page in composed)
    chunks = _split(composed, size=size, overlap=overlap)
    covered = [False] * len(whole)
    for chunk in chunks:
        assert whole[chunk.start : chunk.end] == chunk.text
        assert Words().count(chunk.text) <= size
        assert Words().count(chunk.passage) <= size + HEADING_TOKENS
        covered[chunk.start : chunk.end] = [True] * len(chunk.text)
    assert all(seen or character.isspace() for seen, character in zip(covered, whole, strict=True))
    assert [chunk.start for chunk in chunks] == sorted(chunk.start for chunk in chunks)
