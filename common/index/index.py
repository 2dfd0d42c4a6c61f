"""Chunks in, passages out. All that differs between Milvus and Milvus Lite ends here.

Milvus Lite 3.2.2 does not guard a collection against two requests at once, reads excepted (tried, and read in its
engine/collection.py and storage/wal.py):
- Two writers open the write-ahead log twice or mix their records in it. Nobody notices while it runs; after a kill
  and a restart 356 of 480 acknowledged rows were gone.
- A flush swaps the table in memory and the log one after the other: an upsert between the two lands in a table that
  is no longer read, or in a log that is deleted. Two flushes at once fail with "current_seq is monotonic".
- A read that overlaps a flush can miss the rows being flushed, for that one answer.
So every write and flush, and the reads that must be exact, hold one lock that all processes share. Searches wait for
no writer; they hold another lock together, which a flush has alone.

One thing no client can guard: the first two requests after a start of Milvus Lite, be they reads, may each open the
collection, and what is written through one of the two is lost. Who starts the server lets nobody in before it has
opened its collections.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any, Literal

import numpy as np
import structlog
from numpy.typing import NDArray

from common.db import Database
from common.errors import ConfigurationError
from common.index.fusion import fuse
from common.index.rows import HIT_FIELDS, Found, Hit, Row, checked, decode, encode, is_ours, one_of
from common.index.schema import INDEXES, collection_schema, dimension_of, index_params
from common.index.server import Server
from common.settings import Settings

log = structlog.get_logger()

Mode = Literal["hybrid", "dense", "keyword"]

# Rows in one upsert. Milvus Lite segments the text while all others wait, 2.5 ms a row; the fixed cost is 2 ms a call.
# The longest texts make 4 MB of it, and 64 MB is the least that a Milvus takes.
_BATCH = 64

# Rows of a page when all are read. Milvus Lite looks through the whole collection for each, and sorts it; Milvus gives
# 16,384 at most.
_PAGE = 8192
# 1.5 s of CPU at 100,000 rows.
_PAGE_SECONDS = 120
# It warns of each iterator that Milvus Lite has no such timestamp: there, the lock does what it is for.
logging.getLogger("pymilvus.client.iterator.query_iterator").setLevel(logging.ERROR)


class Index:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._collection = settings.collection
        self._server = Server(settings)
        # This process's writers queue here, so that one connection to Postgres is enough for them all.
        self._mutex = threading.Lock()
        self._database = Database(settings, connections=1)
        # Connections of their own: a search that waits must not hold one that a writer needs.
        self._searching = Database(settings)

    def ensure(self, dimension: int) -> None:
        """Make the collection, its indexes, and load it, as far as that is not done. Any number may call it at once."""
        with self._alone():
            if not self._server.call("has_collection", self._collection):
                schema = collection_schema(dimension, lite=self._server.lite)
                # Strong: whoever searches sees what anybody wrote before. Milvus Lite is always so.
                self._server.call("create_collection", self._collection, schema=schema, consistency_level="Strong")
            found = dimension_of(self._server.call("describe_collection", self._collection))
            if found != dimension:
                raise ConfigurationError(
                    f"The Milvus collection {self._collection!r} holds vectors of {found} dimensions, the model makes "
                    f"{dimension}. Set BRIGADE_COLLECTION to a new name and ingest again, or go back to the old model."
                )
            made = self._server.call("list_indexes", self._collection)
            for field in INDEXES.keys() - set(made):
                self._server.call("create_index", self._collection, index_params=index_params(field))
            self._server.call("load_collection", self._collection)

    def upsert(self, rows: Iterable[Row]) -> int:
        """Write rows, replacing those of the same id; how many. Consumes `rows` lazily, so it may be any length."""
        rows = iter(rows)
        total = unflushed = 0
        while batch := [encode(row) for row in islice(rows, _BATCH)]:
            with self._alone():
                self._server.call("upsert", self._collection, data=batch)
                unflushed += len(batch)
                if self._server.lite and unflushed >= self._settings.index_flush_rows:
                    self._flush()
                    unflushed = 0
            total += len(batch)
        return total

    def delete_document(self, document_id: str) -> None:
        """Delete every version's rows. Harmless when there are none."""
        self._delete(_of(document_id))

    def delete_each(self, versions: Collection[tuple[str, int]]) -> None:
        """Delete the rows of these versions of these documents at once."""
        if versions:
            self._delete(
                " or ".join(f"({_of(document)} and version == {int(number)})" for document, number in versions)
            )

    def delete_versions(self, document_id: str, versions: Collection[int]) -> None:
        """Delete the rows of these versions of the document."""
        if versions:
            numbers = ", ".join(str(int(version)) for version in versions)
            self._delete(f"{_of(document_id)} and version in [{numbers}]")

    def count(self, document_id: str) -> int:
        """How many rows the document has, over all versions; exact."""
        with self._alone():
            (found,) = self._server.call_loaded(
                "query", self._collection, filter=_of(document_id), output_fields=["count(*)"]
            )
        return int(found["count(*)"])

    def ids(self, document_id: str) -> list[str]:
        """`<document_id>:<version>:<chunk>` of each of the document's rows; exact."""
        with self._alone():
            pages = self._server.call_loaded(
                "query_iterator", self._collection, filter=_of(document_id), output_fields=["id"], batch_size=1000
            )
            found: list[str] = []
            while page := pages.next():
                found += [row["id"] for row in page]
            pages.close()
        return found

    def chunks(self, document_ids: Collection[str] | None = None) -> Iterator[list[tuple[str, int, int]]]:
        """(document id, version, chunk) of every row, or of every row of these documents, in pages.

        The lock is held for a page at a time: what is written meanwhile may be missed. Rows of a kind that we never
        write are somebody else's, who may keep them.
        """
        where = "" if document_ids is None else one_of("document_id", document_ids)
        with self._alone():
            pages = self._server.call_loaded(
                "query_iterator",
                self._collection,
                filter=where,
                output_fields=["document_id", "version", "chunk"],
                batch_size=_PAGE,
                timeout=_PAGE_SECONDS,
            )
        try:
            while True:
                with self._alone(), self._server.telling():
                    page = pages.next()
                if not page:
                    return
                ours = [row for row in page if is_ours(row["document_id"])]
                if len(ours) < len(page):
                    log.warning("index.rows_of_others", collection=self._collection, rows=len(page) - len(ours))
                yield [(row["document_id"], row["version"], row["chunk"]) for row in ours]
        finally:
            pages.close()

    def delete_chunks(self, document_id: str, version: int, *, beyond: int) -> None:
        """Delete the rows of this version from chunk number `beyond` on."""
        self._delete(f"{_of(document_id)} and version == {int(version)} and chunk >= {int(beyond)}")

    def search(
        self,
        query: str,
        vector: NDArray[np.float32] | None,
        *,
        depth: int,
        mode: Mode = "hybrid",
        knowledge_base_ids: Sequence[str],
        document_ids: Sequence[str] | None = None,
    ) -> Found:
        """The passages of these knowledge bases (of these documents only, if given), best first: of each list the best
        `depth`.

        `vector`: the query's embedding, shape (dimension,); not needed for "keyword", as `query` is not for "dense".
        """
        if not knowledge_base_ids or (document_ids is not None and not document_ids):
            return Found([], complete=True)
        where = one_of("knowledge_base_id", knowledge_base_ids)
        if document_ids is not None:
            where += f" and {one_of('document_id', document_ids)}"
        lists = []
        if mode != "keyword":
            lists.append(self._hits("dense", data=[vector], anns_field="dense", filter=where, limit=depth))
        if mode != "dense":
            lists.append(self._hits("keyword", data=[query], anns_field="sparse", filter=where, limit=depth))
        hits = fuse(lists) if mode == "hybrid" else lists[0]
        return Found(hits, complete=all(len(one) < depth for one in lists))

    def get(self, chunks: Collection[tuple[str, int, int]]) -> list[Hit]:
        """Those of these chunks (document id, version, chunk) that are there, in no order."""
        ids = [f"{checked(document)}:{int(version)}:{int(chunk)}" for document, version, chunk in chunks]
        if not ids:
            return []
        with self._searching.shared(self._flushes) if self._server.lite else nullcontext():
            rows = self._server.call_loaded("query", self._collection, ids=ids, output_fields=list(HIT_FIELDS))
        return [decode(row) for row in rows]

    def vectors(self, document_id: str, *, before: int, hashes: Collection[str]) -> dict[str, bytes]:
        """Little-endian float32 by the hash of its passage, of those that a version `before` this one has."""
        if not hashes:
            return {}
        where = f"{_of(document_id)} and version < {int(before)} and {one_of('hash', hashes)}"
        with self._searching.shared(self._flushes) if self._server.lite else nullcontext():
            rows = self._server.call_loaded(
                "query", self._collection, filter=where, output_fields=["hash", "dense"], limit=_PAGE
            )
        return {row["hash"]: np.asarray(row["dense"], dtype="<f4").tobytes() for row in rows}

    def flush(self) -> None:
        """Milvus Lite only: make fresh rows fast to search. 1 ms when there are none; Milvus does it by itself."""
        if self._server.lite:
            with self._alone():
                self._flush()

    def ping(self) -> None:
        """Raise `Unavailable` unless the server answers."""
        self._server.call("get_server_version")

    def close(self) -> None:
        self._server.close()
        self._database.close()
        self._searching.close()

    def _hits(self, name: str, **options: Any) -> list[Hit]:
        """The list of that name, best first."""
        with self._searching.shared(self._flushes) if self._server.lite else nullcontext():
            (found,) = self._server.call_loaded("search", self._collection, output_fields=list(HIT_FIELDS), **options)
        # Milvus Lite tells a BM25 score as a negative number, Milvus as a positive one.
        sign = -1 if name == "keyword" and self._server.lite else 1
        return [decode(one["entity"], sign * float(one["distance"]), (name,)) for one in found]

    def _flush(self) -> None:
        """Whoever calls this holds the writers' lock."""
        with self._searching.exclusive(self._flushes):
            self._server.call("flush", self._collection)

    @property
    def _flushes(self) -> str:
        return f"milvus-flush:{self._collection}"

    def _delete(self, where: str) -> None:
        with self._alone():
            # A delete looks its rows up first, and not at the collection's consistency but at its own.
            self._server.call("delete", self._collection, filter=where, consistency_level="Strong")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else writes meanwhile, on any machine; on Milvus, which needs no such thing, nothing."""
        if not self._server.lite:
            yield
            return
        with self._mutex, self._database.exclusive(f"milvus:{self._collection}"):
            yield


def _of(document_id: str) -> str:
    return f'document_id == "{checked(document_id)}"'
