"""Postings of several segments rank as Milvus Lite's own class does those of one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milvus_lite.analyzer.sparse import sparse_to_bytes
from milvus_lite.index.sparse_inverted import SparseInvertedIndex

from deploy.local.milvus_search import Bm25Index, among

Words = Mapping[int, float]

WORDS = st.dictionaries(st.integers(0, 12) | st.just(2**32 - 1), st.integers(1, 4).map(float), max_size=6)
SEGMENTS = st.lists(st.lists(WORDS, max_size=8), min_size=1, max_size=4)


def whole(rows: list[Words]) -> SparseInvertedIndex:
    index = SparseInvertedIndex()
    index.build(rows)
    return index


def packed(rows: list[Words]) -> Bm25Index:
    index = Bm25Index()
    index.build_packed([sparse_to_bytes(dict(row)) or None for row in rows])
    return index


def scores(index: SparseInvertedIndex, query: Words, count: int) -> dict[int, float]:
    ids, distances = index.search([query], count)
    assert list(distances[0]) == sorted(distances[0])
    return {int(row): -float(distance) for row, distance in zip(ids[0], distances[0], strict=True) if row >= 0}


@given(SEGMENTS, WORDS)
def test_segments_among_each_other_score_as_one(segments: list[list[Words]], query: Words) -> None:
    rows = [row for segment in segments for row in segment]
    found: dict[int, float] = {}
    indexes = [packed(segment) for segment in segments]
    first = 0
    with among(indexes):
        for index, segment in zip(indexes, segments, strict=True):
            found |= {first + row: score for row, score in scores(index, query, len(segment)).items()}
            first += len(segment)
    assert found == pytest.approx(scores(whole(rows), query, len(rows)), rel=1e-4)


@given(st.lists(WORDS, max_size=8), WORDS, st.data())
def test_rows_may_be_left_out(rows: list[Words], query: Words, data: st.DataObject) -> None:
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool)
    ours, theirs = packed(rows).search([query], 5, mask), whole(rows).search([query], 5, mask)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4)
    assert not np.isin(np.flatnonzero(~mask), ours[0]).any()
    fresh, own = Bm25Index(), SparseInvertedIndex()
    fresh.build(rows, mask)
    own.build(rows, mask)
    np.testing.assert_allclose(fresh.search([query], 5)[1], own.search([query], 5)[1], rtol=1e-4)
