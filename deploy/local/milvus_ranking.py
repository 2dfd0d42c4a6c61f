"""Milvus Lite's keyword search, by the whole collection's statistics as on full Milvus.

Milvus Lite 3.2.2 scores each segment by that segment's own numbers of documents and words (a TODO in its
engine/collection.py), and no setting changes it: what a word weighs depends on what was written within the same two
seconds, and hits of different segments are ranked by scores that cannot be compared. Its postings are dictionaries of
Python, built while the first search waits: ten seconds at 100,000 passages. Here they are arrays, made when a segment
is written, merged or loaded. What it gains: ARCHITECTURE.md, "Search".
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt
from milvus_lite import db
from milvus_lite.engine.collection import Collection
from milvus_lite.index import sparse_factory
from milvus_lite.index.sparse_common import empty_results
from milvus_lite.index.sparse_factory import create_sparse_index, sparse_index_matches
from milvus_lite.index.sparse_inverted import SparseInvertedIndex

_WORD = np.dtype([("term", "<u4"), ("times", "<f4")])  # as Milvus packs sparse vectors


_AMONG: ContextVar[Sequence[Bm25Index]] = ContextVar("_AMONG", default=())


@contextmanager
def among(indexes: Iterable[Bm25Index]) -> Iterator[None]:
    """What this thread searches in here is ranked by the statistics of all these indexes."""
    token = _AMONG.set(tuple(indexes))
    try:
        yield
    finally:
        _AMONG.reset(token)


class Bm25Index(SparseInvertedIndex):  # type: ignore[misc]
    """The postings of one segment. Within `among(indexes)` a search takes its statistics from all of these.

    Formula, parameters and results are those of Milvus Lite's class, whose place it takes.
    """

    def build(self, sparse_vectors: Sequence[Mapping[int, float]], valid_mask: Any = None) -> None:
        """`sparse_vectors`: for each row how often it has which term; rows outside `valid_mask` count as empty."""
        rows = [v if valid_mask is None or valid_mask[row] else {} for row, v in enumerate(sparse_vectors)]
        words = np.array([word for row in rows for word in row.items()], _WORD)
        self._build(words, [len(row) for row in rows], len(rows) if valid_mask is None else int(np.sum(valid_mask)))

    def build_packed(self, rows: Sequence[bytes | None]) -> None:
        """`rows`: as `sparse_to_bytes` packs them."""
        packed = [row or b"" for row in rows]
        words = np.frombuffer(b"".join(packed), _WORD)
        self._build(words, [len(row) // _WORD.itemsize for row in packed], len(packed))

    def _build(self, words: npt.NDArray[Any], sizes: Sequence[int], documents: int) -> None:
        rows = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        lengths = np.bincount(rows, words["times"], len(sizes)).astype(np.float32)
        order = np.argsort(words["term"], kind="stable")
        self._terms, self._starts = np.unique(words["term"][order], return_index=True)
        self._ends = np.append(self._starts[1:], len(words))
        self._rows, self._times = rows[order], words["times"][order]
        self._doc_lengths, self.doc_count = lengths, documents
        self.tokens = float(lengths.sum(dtype=np.float64))
        self.avgdl = self.tokens / documents if documents else 0.0

    def postings(self, term: int) -> slice:
        at = int(np.searchsorted(self._terms, term))
        found = at < len(self._terms) and self._terms[at] == term
        return slice(int(self._starts[at]), int(self._ends[at])) if found else slice(0, 0)

    def search(
        self, query_sparse_vectors: Sequence[Mapping[int, float]], top_k: int, valid_mask: Any = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Rows and negated scores, best first, each (queries, `top_k`), filled up with -1 and infinity."""
        ids, distances = empty_results(len(query_sparse_vectors), top_k)
        for query, terms in enumerate(query_sparse_vectors):
            scores = self._scores(terms)
            if valid_mask is not None:
                scores[~valid_mask] = 0
            hits = np.flatnonzero(scores)
            best = hits[np.argsort(-scores[hits], kind="stable")[:top_k]]
            ids[query, : len(best)], distances[query, : len(best)] = best, -scores[best]
        return ids, distances

    def _scores(self, terms: Mapping[int, float]) -> npt.NDArray[np.float64]:
        indexes = {self, *_AMONG.get()}
        documents = sum(index.doc_count for index in indexes)
        mean_length = sum(index.tokens for index in indexes) / documents if documents else 0
        scores = np.zeros(len(self._doc_lengths))
        norms = self.k1 * (1 - self.b + self.b * self._doc_lengths / (mean_length or 1))
        for term, weight in terms.items():
            own = self.postings(term)
            rows, times = self._rows[own], self._times[own]
            having = sum(place.stop - place.start for place in (index.postings(term) for index in indexes))
            rarity = math.log((documents - having + 0.5) / (having + 0.5) + 1)
            scores[rows] += weight * rarity * times * (self.k1 + 1) / (times + norms[rows])
        return scores


class RankedCollection(Collection):  # type: ignore[misc]
    def _build_or_load_segment_index(self, segment: Any, spec: Any) -> None:
        """Called when a segment was written, merged or loaded, away from those who search."""
        super()._build_or_load_segment_index(segment, spec)
        if spec.metric_type == "BM25":
            _index_of(segment, spec.field_name, spec.build_params)

    def _search_sparse(self, *args: Any, vector_field: str, metric_type: str, **named: Any) -> Any:
        segments, _ = self._read_snapshot()
        spec = self._index_specs.get(vector_field)
        params = spec.build_params if spec else {}
        ranked = [one for one in segments if one.num_rows] if metric_type == "BM25" else []
        with among(_index_of(segment, vector_field, params) for segment in ranked):
            return super()._search_sparse(*args, vector_field=vector_field, metric_type=metric_type, **named)


def _index_of(segment: Any, field: str, params: Mapping[str, Any]) -> Bm25Index:
    """Where Milvus Lite itself looks for it, and would build it otherwise."""
    with _BUILDING:
        index = segment.sparse_indexes.get(field)
        if not sparse_index_matches(index, "BM25", params):
            index = create_sparse_index("BM25", params)
            index.build_packed(segment.table.column(field).to_pylist())
            segment.sparse_indexes[field] = index
    assert isinstance(index, Bm25Index)
    return index


# Two that build the same segment's postings would hold twice its memory.
_BUILDING = threading.Lock()


def install() -> None:
    """Let the Milvus Lite of this process make and open such collections."""
    sparse_factory.SparseInvertedIndex = Bm25Index
    db.Collection = RankedCollection
