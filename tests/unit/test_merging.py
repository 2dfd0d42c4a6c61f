"""The merge of a listing with the documents: it finds every difference, in whatever order a store lists."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.findings import Found, Listed
from common.merging import Kept, Misordered, Order, Pair, by_bytes, by_folder, merge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# What comes before and after "/" in the order of bytes, and what only UTF-8 knows.
KEYS = st.lists(st.sampled_from(["a", "b", "/", "-", ".", "é", "水", "😀", "\uffee"]), min_size=1, max_size=5).map(
    "".join
)
ORDERS = st.sampled_from([by_bytes, by_folder])
BUCKETS = st.dictionaries(KEYS, st.sampled_from(["1", "2"]), max_size=12)
DOCUMENTS = st.dictionaries(KEYS, st.sampled_from(["1", "2", None]), max_size=12)


def listed(key: str, etag: str) -> Listed:
    return Listed(key, Found(etag, 1, NOW, NOW, NOW))


def objects(bucket: dict[str, str], order: Order) -> list[Listed]:
    return [listed(key, bucket[key]) for key in sorted(bucket, key=order)]


def kept(documents: dict[str, str | None], order: Order) -> list[Kept]:
    return [Kept(key, documents[key]) for key in sorted(documents, key=order)]


def differing(pairs: Iterable[Pair]) -> set[str]:
    """Keys that are looked at once more, as the sweep would."""
    return {one.key for pair in pairs if not pair.agrees for one in (pair.listed, pair.kept) if one is not None}


def really(bucket: dict[str, str], documents: dict[str, str | None]) -> set[str]:
    """By another way: what was put, overwritten or removed without a word."""
    put = {key for key in bucket if documents.get(key) != bucket[key]}
    return put | {key for key, etag in documents.items() if etag is not None and key not in bucket}


@given(BUCKETS, DOCUMENTS, ORDERS)
def test_in_order_it_finds_what_differs_and_nothing_else(
    bucket: dict[str, str], documents: dict[str, str | None], order: Order
) -> None:
    pairs = list(merge(objects(bucket, order), kept(documents, order), order, strict=True))
    assert differing(pairs) == really(bucket, documents)
    assert [pair.listed.key for pair in pairs if pair.listed] == sorted(bucket, key=order)
    assert [pair.kept.key for pair in pairs if pair.kept] == sorted(documents, key=order)


@given(BUCKETS, DOCUMENTS, ORDERS, st.randoms())
def test_in_any_order_it_overlooks_nothing(
    bucket: dict[str, str], documents: dict[str, str | None], order: Order, random: st.DataObject
) -> None:
    listing = objects(bucket, order)
    random.shuffle(listing)  # type: ignore[attr-defined]
    pairs = list(merge(listing, kept(documents, order), order, strict=False))
    assert differing(pairs) >= really(bucket, documents)
    assert len([pair for pair in pairs if pair.listed]) == len(bucket)
    assert len([pair for pair in pairs if pair.kept]) == len(documents)


@given(BUCKETS, DOCUMENTS, ORDERS, st.data())
def test_broken_off_anywhere_and_gone_on_with_it_finds_the_same(
    bucket: dict[str, str], documents: dict[str, str | None], order: Order, data: st.DataObject
) -> None:
    listing, there = objects(bucket, order), kept(documents, order)
    found, after = set[str](), ""
    for number in [*data.draw(st.lists(st.integers(0, 12), max_size=3)), len(bucket) + len(documents)]:
        rest = [one for one in listing if order(one.key) > order(after)]
        left = [one for one in there if order(one.key) > order(after)]
        pairs = list(itertools.islice(merge(rest, left, order, strict=True), number))
        # What came behind the last object is done again: the sweep writes down where it is at objects only.
        found |= differing(pairs)
        after = next((pair.listed.key for pair in reversed(pairs) if pair.listed), after)
    assert found == really(bucket, documents)


@given(st.lists(KEYS, unique=True, min_size=2), ORDERS)
def test_who_is_strict_hears_of_a_listing_in_another_order(keys: list[str], order: Order) -> None:
    listing = [listed(key, "1") for key in keys]
    backwards = any(order(late) < order(early) for early, late in itertools.combinations(keys, 2))
    if backwards:
        with pytest.raises(Misordered):
            list(merge(listing, [], order, strict=True))
    else:
        assert len(list(merge(listing, [], order, strict=True))) == len(keys)


def test_it_holds_one_of_each_however_many_there_are() -> None:
    drawn = {"objects": 0, "documents": 0}

    def count(what: str, make: type[Kept] | None) -> Iterator[str]:
        for number in range(10_000):
            drawn[what] += 1
            yield f"{number:05}"

    listing = (listed(key, "1") for key in count("objects", None))
    documents = (Kept(key, "1") for key in count("documents", Kept))
    for number, _ in enumerate(merge(listing, documents, by_bytes, strict=True), 1):
        assert max(drawn.values()) <= number + 1
    assert number == 10_000
