"""Milvus Lite's search, made what full Milvus's is: ranked by the whole collection, and by arrays.

Milvus Lite 3.2.2 scores the words of each segment by that segment's own numbers of documents and words (a TODO in its
engine/collection.py), and no setting changes it: what a word weighs depends on what was written within the same two
seconds, and hits of different segments are ranked by scores that cannot be compared. Its postings are dictionaries of
Python, built while the first search waits: ten seconds at 100,000 passages. Here they are arrays, made when a segment
is written, merged or loaded.

It also looks at every row of every segment in Python, for each list of each search, to see which are deleted or have a
later version: half of a search's time at 10,000 passages, nearly all of it at 100,000. Here it is shown the best rows
of each segment only, as many live ones as it wants hits, and does all else with those as ever.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from milvus_lite import db
from milvus_lite.engine.collection import Collection
from milvus_lite.index import sparse_factory
from milvus_lite.index.sparse_common import empty_results
from milvus_lite.index.sparse_factory import create_sparse_index, sparse_index_matches
from milvus_lite.index.sparse_inverted import SparseInvertedIndex
from milvus_lite.search.distance import compute_distances
from milvus_lite.search.indexed_filter import evaluate_segment_filter
from milvus_lite.storage.segment import Segment

_WORD = np.dtype([("term", "<u4"), ("times", "<f4")])  # as Milvus packs sparse vectors


_AMONG: ContextVar[Sequence[Bm25Index]] = ContextVar("_AMONG", default=())
_SHOWN: ContextVar[Any] = ContextVar("_SHOWN", default=None)


def among(indexes: Iterable[Bm25Index]) -> AbstractContextManager[None]:
    """What this thread searches in here is ranked by the statistics of all these indexes."""
    return _set(_AMONG, tuple(indexes))


@contextmanager
def _set(variable: ContextVar[Any], value: object) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


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
            scores = self.scores(terms)
            if valid_mask is not None:
                scores[~valid_mask] = 0
            best = list(islice(_best_first(scores, top_k), top_k))
            ids[query, : len(best)], distances[query, : len(best)] = best, -scores[best]
        return ids, distances

    def scores(self, terms: Mapping[int, float]) -> npt.NDArray[np.float64]:
        """Of each row; 0 where it has none of the terms."""
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


class _Scored(Bm25Index):
    """Rows whose scores are known."""

    def __init__(self, index: Bm25Index, scores: npt.NDArray[np.float64]) -> None:
        super().__init__(index.k1, index.b)
        self._known = scores

    def scores(self, _: Mapping[int, float]) -> npt.NDArray[np.float64]:
        return self._known.copy()


def _best_first(scores: npt.NDArray[np.floating[Any]], usually: int) -> Iterator[int]:
    """The rows with a score that is not 0. The first four times as many as `usually` suffice cost no sorting of all."""
    rows = np.flatnonzero(scores)
    for least, size in ((0, 4 * usually), (4 * usually, len(rows))):
        if least < len(rows):
            part = rows if size >= len(rows) else rows[np.argpartition(-scores[rows], size - 1)[:size]]
            yield from part[np.lexsort((part, -scores[part]))][least:size].tolist()


class _Snapshot:
    """What a collection holds at a moment."""

    def __init__(self, collection: Collection) -> None:
        self.segments, self.deleted = Collection._read_snapshot(collection)
        memory = collection._memtable
        # The latest change of each row that changed since the last flush.
        self._changed = {key: number for key, (_, _, number) in memory.pk_index_snapshot()}
        self._changed |= {key: number for key, (number, _) in memory.delete_index_snapshot().items()}

    def live(self, segment: Segment, rows: Iterable[int]) -> Iterator[int]:
        """Those that are neither deleted nor replaced."""
        for row in rows:
            key, number = segment.pks[row], int(segment.seqs[row])
            found = ((other, other.find_row(key)) for other in self.segments if other is not segment)
            if (
                self._changed.get(key, -1) < number
                and not self.deleted.is_deleted(key, number)
                and all(at is None or int(other.seqs[at]) < number for other, at in found)
            ):
                yield row


class FastCollection(Collection):  # type: ignore[misc]
    def _build_or_load_segment_index(self, segment: Segment, spec: Any) -> None:
        """Called when a segment was written, merged or loaded, away from those who search."""
        super()._build_or_load_segment_index(segment, spec)
        if spec.metric_type == "BM25":
            self._postings(segment, spec.field_name)

    def _postings(self, segment: Segment, field: str) -> Bm25Index:
        """Where Milvus Lite itself looks for them, and would build them otherwise."""
        spec = self._index_specs.get(field)
        params = spec.build_params if spec else {}
        with _BUILDING:
            index = segment.sparse_indexes.get(field)
            if not sparse_index_matches(index, "BM25", params):
                index = create_sparse_index("BM25", params)
                index.build_packed(segment.table.column(field).to_pylist())
                segment.sparse_indexes[field] = index
        assert isinstance(index, Bm25Index)
        return index

    def _read_snapshot(self) -> Any:
        return _SHOWN.get() or super()._read_snapshot()

    def search(self, query_vectors: Sequence[Any], top_k: int = 10, metric_type: Any = None, **options: Any) -> Any:
        """As Milvus Lite's own, which does the search, but among the best rows of each segment."""
        self._require_loaded()
        field = self._resolve_anns_field(options.get("anns_field"))
        metric = self.resolve_search_metric(field, metric_type)
        snapshot = _Snapshot(self)
        words = [self._postings(one, field) for one in snapshot.segments if metric == "BM25" and one.num_rows]
        with among(words):
            if len(query_vectors) != 1 or metric not in _SCORED or _wants_others(options):
                return super().search(query_vectors, top_k, metric_type, **options)
            shown = self._best_of_each(snapshot, query_vectors, top_k, field, metric, options)
            with _set(_SHOWN, (shown, snapshot.deleted)):
                return super().search(query_vectors, top_k, metric_type, **options)

    def _best_of_each(
        self, snapshot: _Snapshot, query: Sequence[Any], top_k: int, field: str, metric: str, options: Mapping[str, Any]
    ) -> tuple[Segment, ...]:
        """Segments of the `top_k` best live rows of each; for keywords, with their scores."""
        expression = options.get("expr")
        let = self._compile_filter(expression, timezone=options.get("timezone")) if expression else None
        plan = self._indexed_filter_plan(let)
        asked: Any = (
            self._prepare_sparse_queries(query, field)[0] if metric == "BM25" else np.asarray(query, np.float32)
        )
        shown = []
        for segment in (one for one in snapshot.segments if one.num_rows):
            index = self._postings(segment, field) if metric == "BM25" else None
            if index is not None:
                scores = index.scores(asked)
            else:
                vectors, present = segment.vector_data(field)
                # Nobody's score is 0 exactly, which stands for none.
                scores = _LARGER_THAN_ANY - compute_distances(asked, vectors, metric)[0]
                if present is not None:
                    scores[~present] = 0
            if let is not None:
                scores[~evaluate_segment_filter(segment, let, plan)] = 0
            rows = list(islice(snapshot.live(segment, _best_first(scores, top_k)), top_k))
            view = _of_rows(segment, rows)
            if index is not None:
                view.sparse_indexes[field] = _Scored(index, scores[rows])
            shown.append(view)
        return tuple(shown)


def _wants_others(options: Mapping[str, Any]) -> bool:
    """Whether the best of all rows would not do. Ours never ask so."""
    given = (options.get(name) is not None for name in ("group_by_field", "radius", "range_filter", "ranker"))
    return bool(options.get("offset") or options.get("partition_names")) or any(given)


def _of_rows(segment: Segment, rows: Sequence[int]) -> Segment:
    table = pa.concat_tables([segment.table.slice(0, 0), *(segment.table.slice(row, 1) for row in rows)])
    return Segment(
        segment.file_path,
        segment.partition,
        segment._pk_field,
        segment._vector_field,
        [segment.pks[row] for row in rows],
        segment.seqs[list(rows)],
        segment.vectors[list(rows)],
        table.combine_chunks(),
        None if segment.vector_null_mask is None else segment.vector_null_mask[list(rows)],
    )


# Two that build the same segment's postings would hold twice its memory.
_BUILDING = threading.Lock()
_SCORED = frozenset({"BM25", "IP", "COSINE"})
_LARGER_THAN_ANY = np.float32(4)


def install() -> None:
    """Let the Milvus Lite of this process make and open such collections."""
    sparse_factory.SparseInvertedIndex = Bm25Index
    db.Collection = FastCollection
