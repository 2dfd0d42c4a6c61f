"""Milvus Lite's search by arrays finds what its own does; postings of several segments rank as those of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milvus_lite.analyzer.sparse import sparse_to_bytes
from milvus_lite.index import sparse_factory
from milvus_lite.index.sparse_inverted import SparseInvertedIndex
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema, Function, FunctionType

from deploy.local import milvus_search
from deploy.local.milvus_search import Bm25Index, FastCollection, among

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


def collection(directory: Path, metric: str) -> FastCollection:
    schema = CollectionSchema(
        [
            FieldSchema("id", DataType.VARCHAR, is_primary=True, max_length=9),
            FieldSchema("kind", DataType.INT64),
            FieldSchema("passage", DataType.VARCHAR, max_length=99, enable_analyzer=True),
            FieldSchema("dense", DataType.FLOAT_VECTOR, dim=4),
            FieldSchema("sparse", DataType.SPARSE_FLOAT_VECTOR, is_function_output=True),
        ],
        functions=[Function("bm25", FunctionType.BM25, ["passage"], ["sparse"])],
    )
    made = FastCollection("test", str(directory), schema)
    made.create_index("dense", {"index_type": "FLAT", "metric_type": metric})
    made.create_index("sparse", {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"})
    made.load()
    return made


@pytest.fixture
def of_all_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """A search that is shown all rows, as Milvus Lite by itself is."""
    monkeypatch.setattr(sparse_factory, "SparseInvertedIndex", Bm25Index)

    def search(made: FastCollection, **asked: Any) -> list[dict[str, Any]]:
        with monkeypatch.context() as patched:
            patched.setattr(milvus_search, "_SCORED", frozenset())
            return list(made.search(**asked)[0])

    return search


@pytest.mark.parametrize("metric", ["IP", "COSINE"])
@pytest.mark.parametrize("seed", range(8))
def test_of_the_best_rows_a_search_finds_what_it_finds_of_all(
    seed: int, metric: str, tmp_path: Path, of_all_rows: Callable[..., list[dict[str, Any]]]
) -> None:
    random, numbers = Random(seed), np.random.default_rng(seed)
    with closing(collection(tmp_path, metric)) as made:
        for _ in range(60):
            keys = [f"k{random.randrange(50)}" for _ in range(random.randrange(1, 9))]
            if (what := random.random()) < 0.6:
                made.upsert([row(key, random, numbers) for key in dict.fromkeys(keys)])
            elif what < 0.8:
                made.delete(keys)
            else:
                made.flush()
                made._wait_for_bg()  # what it merges counts no longer what is dead, which is another rank
            vector = numbers.standard_normal(4).tolist()
            where, count = random.choice([None, "kind == 1", "kind > 7"]), random.choice([1, 3, 100])
            for field, query in (("dense", vector), ("sparse", random.choice(TEXTS))):
                asked: dict[str, Any] = {"query_vectors": [query], "top_k": count, "expr": where, "anns_field": field}
                found, wanted = made.search(**asked)[0], of_all_rows(made, **asked)
                told = [hit["distance"] for hit in found]
                assert told == pytest.approx([hit["distance"] for hit in wanted], rel=1e-4)
                if count == 100:
                    assert {hit["id"]: hit["entity"] for hit in found} == {hit["id"]: hit["entity"] for hit in wanted}


TEXTS = ("red fox", "red hen house", "blue", "blue blue sky fox", "hen")


def row(key: str, random: Random, numbers: np.random.Generator) -> dict[str, Any]:
    vector = numbers.standard_normal(4).tolist()
    return {"id": key, "kind": random.randrange(3), "passage": random.choice(TEXTS), "dense": vector}
