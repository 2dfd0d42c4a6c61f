"""A step's artifact, read a page at a time: what comes together is the whole, and nothing is read twice over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import artifacts
from common.contents import Made, Position, Reader
from common.errors import NotFound, Rejected, RequestError
from common.records import Page
from tests.memory_store import MemoryStore


class Store(MemoryStore):
    """Counts what is asked of it, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def lines(self, key: str, span: tuple[int, int] | None = None) -> Iterator[bytes]:
        if key not in self.objects:
            raise Rejected("gone", code="OBJECT_GONE")
        for line in super().lines(key, span):
            self.read += len(line) + 1
            yield line


def made(store: Store, pages: list[Page], *, inline_bytes: int = 0, cut: int = 3) -> Made:
    written = artifacts.write(store, "key", pages, inline_bytes=inline_bytes, cut_records=cut)
    return Made(written.artifact.inline, written.artifact.key, written.cuts)


def read_all(reader: Reader[Page], limit: int, page: int | None = None) -> list[Page]:
    found: list[Page] = []
    start: int | None = 0
    while start is not None:
        some, start = reader.read(start, limit=limit, page=page)
        assert len(some) <= limit
        assert some or start is None
        found += some
    return found


PAGES = st.lists(st.tuples(st.integers(0, 2), st.text(max_size=20)), max_size=20).map(
    lambda steps: [Page(1 + sum(step for step, _ in steps[: n + 1]), text) for n, (_, text) in enumerate(steps)]
)


@given(pages=PAGES, limit=st.integers(1, 7), inline=st.booleans(), cut=st.integers(1, 5))
def test_page_by_page_the_whole_is_rebuilt(pages: list[Page], limit: int, inline: bool, cut: int) -> None:
    store = Store()
    reader = Reader(store, made(store, pages, inline_bytes=1 << 20 if inline else 0, cut=cut), Page, "number")
    assert read_all(reader, limit) == pages
    for number in range(1, 45):
        assert read_all(reader, limit, number) == [page for page in pages if page.number == number]


def test_one_page_of_many_is_found_without_reading_the_others() -> None:
    store = Store()
    reader = Reader(store, made(store, [Page(n, "x" * 1000) for n in range(1, 2001)], cut=32), Page, "number")
    pages, following = reader.read(0, limit=10, page=1777)
    assert ([page.number for page in pages], following) == ([1777], None)
    assert store.read < 60_000  # of two million


def test_a_cursor_before_the_page_does_not_make_all_between_them_be_read() -> None:
    store = Store()
    reader = Reader(store, made(store, [Page(n, "x" * 1000) for n in range(1, 2001)], cut=32), Page, "number")
    _, following = reader.read(0, limit=1)
    assert following is not None
    store.read = 0
    pages, _ = reader.read(following, limit=10, page=1777)
    assert [page.number for page in pages] == [1777]
    assert store.read < 60_000


def test_an_answer_ends_before_it_grows_large() -> None:
    store = Store()
    pages = [Page(n, "x" * 50_000) for n in range(1, 101)]
    reader = Reader(store, made(store, pages, cut=32), Page, "number")
    some, following = reader.read(0, limit=200)
    assert 1 < len(some) <= 21
    assert following is not None
    assert store.read < 1_200_000
    assert read_all(reader, 200) == pages


@pytest.mark.parametrize("inline_bytes", [0, 1000])
def test_a_byte_within_a_record_is_no_beginning(inline_bytes: int) -> None:
    store = Store()
    whole = made(store, [Page(1, "a"), Page(2, "b")], inline_bytes=inline_bytes)
    reader = Reader(store, whole, Page, "number")
    beginnings = {0, whole.end // 2, whole.end}
    for start in range(whole.end + 3):
        if start in beginnings:
            reader.read(start, limit=1)
        else:
            with pytest.raises(RequestError, match="cursor"):
                reader.read(start, limit=1)


def test_what_was_cleared_away_is_told_so() -> None:
    store = Store()
    reader = Reader(store, made(store, [Page(1, "a")]), Page, "number")
    store.objects.clear()
    with pytest.raises(NotFound) as caught:
        reader.read(0, limit=1)
    assert caught.value.code == "CLEARED_AWAY"


def test_a_cursor_survives_its_way_to_the_client_and_back() -> None:
    assert Position.read(Position(3, 77).cursor()) == Position(3, 77)


@pytest.mark.parametrize("cursor", ["", "x", "é", "WzEsLTFd", "WzFd", "WzEuNSwxXQ==", "bnVsbA=="])
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(RequestError) as caught:
        Position.read(cursor)
    assert caught.value.code == "INVALID_CURSOR"
