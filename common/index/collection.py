"""One collection: rows in, passages out. All that differs between Milvus and Milvus Lite ends here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from common.index.locks import Locks
from common.index.rows import Hit, Row, decode, encode, hit_fields, is_ours
from common.index.schema import collection_schema, dimension_of, index_params, indexes
from common.index.server import Server
from common.once import once

log = structlog.get_logger()

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


# The field of each list.
_SEARCHED = {"dense": "dense", "keyword": "sparse"}


class MilvusCollection:
    """`where` is a filter as Milvus parses it, made of checked ids by common/index/rows.py."""

    def __init__(self, name: str, server: Server, locks: Locks, *, flush_rows: int) -> None:
        self.name = name
        self.opening = locks.opening
        self._server = server
        self._locks = locks
        self._flush_rows = flush_rows

    def ensure(self, dimension: int, *, model: str) -> None:
        """Make it, its indexes, and load it, as far as that is not done. Any number may call it at once."""
        with self._locks.naming() if self._server.lite else nullcontext(), self._alone():
            if not self._server.call("has_collection", self.name):
                schema = collection_schema(dimension, lite=self._server.lite, model=model)
                # Strong: whoever searches sees what anybody wrote before. Milvus Lite is always so.
                self._server.call("create_collection", self.name, schema=schema, consistency_level="Strong")
            made = self._server.call("list_indexes", self.name)
            for field, index in indexes(lite=self._server.lite).items():
                if field in made and self._server.lite and self._is_other(field, index):
                    self._server.call("release_collection", self.name)
                    self._server.call("drop_index", self.name, field)
                    made.remove(field)
                if field not in made:
                    self._server.call("create_index", self.name, index_params=index_params(field, index))
            self._server.call("load_collection", self.name)

    def _is_other(self, field: str, index: dict[str, Any]) -> bool:
        """Whether an earlier release made another index of the field. Milvus Lite makes one anew in seconds."""
        made = self._server.call("describe_index", self.name, field)
        return any(made[name] != value for name, value in index.items())

    def drop(self) -> None:
        """It is gone, whatever it holds."""
        lite = self._server.lite
        with (
            self._locks.naming() if lite else nullcontext(),
            self._alone(),
            self._locks.flushing(self.name) if lite else nullcontext(),
        ):
            self._server.call("drop_collection", self.name)

    @once
    def dimension(self) -> int:
        return dimension_of(self._description)

    @once
    def is_plain(self) -> bool:
        """Whether it is of the first release, which kept a text and nothing of its headings and places."""
        return "passage" not in {field["name"] for field in self._description["fields"]}

    @once
    def _description(self) -> dict[str, Any]:
        found: dict[str, Any] = self._server.call("describe_collection", self.name)
        return found

    def upsert(self, rows: Iterable[Row]) -> int:
        """Write rows, replacing those of the same id; how many. Consumes `rows` lazily, so it may be any length."""
        rows = iter(rows)
        total = unflushed = 0
        while batch := [encode(row) for row in islice(rows, _BATCH)]:
            with self._alone():
                self._server.call("upsert", self.name, data=batch)
                unflushed += len(batch)
                if self._server.lite and unflushed >= self._flush_rows:
                    self._flush()
                    unflushed = 0
            total += len(batch)
        return total

    def delete(self, where: str) -> None:
        with self._alone():
            # A delete looks its rows up first, and not at the collection's consistency but at its own.
            self._server.call("delete", self.name, filter=where, consistency_level="Strong")

    def count(self, where: str = "") -> int:
        """How many rows these are; exact."""
        with self._alone():
            (found,) = self._server.call_loaded("query", self.name, filter=where, output_fields=["count(*)"])
        return int(found["count(*)"])

    def ids(self, where: str) -> list[str]:
        """`<document_id>:<version>:<chunk>` of each of these rows; exact."""
        with self._alone():
            pages = self._server.call_loaded(
                "query_iterator", self.name, filter=where, output_fields=["id"], batch_size=1000
            )
            found: list[str] = []
            while page := pages.next():
                found += [row["id"] for row in page]
            pages.close()
        return found

    def chunks(self, where: str) -> Iterator[list[tuple[str, int, int]]]:
        """(document id, version, chunk) of each of these rows, in pages.

        The lock is held for a page at a time: what is written meanwhile may be missed. Rows of a kind that we never
        write are somebody else's, who may keep them.
        """
        with self._alone():
            pages = self._server.call_loaded(
                "query_iterator",
                self.name,
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
                    log.warning("index.rows_of_others", collection=self.name, rows=len(page) - len(ours))
                yield [(row["document_id"], row["version"], row["chunk"]) for row in ours]
        finally:
            pages.close()

    def search(self, vector: NDArray[np.float32] | None, words: str | None, where: str, depth: int) -> list[list[Hit]]:
        """A list for each that is given, best first."""
        asked = {"dense": vector, "keyword": words}
        fields = hit_fields(plain=self.is_plain)
        lists: list[list[Hit]] = []
        with self._searching():
            for name in (name for name, what in asked.items() if what is not None):
                (found,) = self._server.call_loaded(
                    "search",
                    self.name,
                    data=[asked[name]],
                    anns_field=_SEARCHED[name],
                    filter=where,
                    limit=depth,
                    output_fields=fields,
                )
                # Milvus Lite tells a BM25 score as a negative number, Milvus as a positive one.
                sign = -1 if name == "keyword" and self._server.lite else 1
                lists.append([decode(one["entity"], sign * float(one["distance"]), (name,)) for one in found])
        return lists

    def get(self, ids: Sequence[str]) -> list[Hit]:
        """Those of these rows that are there, in no order."""
        fields = hit_fields(plain=self.is_plain)
        with self._searching():
            rows = self._server.call_loaded("query", self.name, ids=list(ids), output_fields=fields)
        return [decode(row) for row in rows]

    def vectors(self, where: str) -> dict[str, bytes]:
        """Little-endian float32 by the hash of its passage, of these rows."""
        with self._searching():
            rows = self._server.call_loaded(
                "query", self.name, filter=where, output_fields=["hash", "dense"], limit=_PAGE
            )
        return {row["hash"]: np.asarray(row["dense"], dtype="<f4").tobytes() for row in rows}

    def flush(self) -> None:
        """Milvus Lite only: make fresh rows fast to search. 1 ms when there are none; Milvus does it by itself."""
        if self._server.lite:
            with self._alone():
                self._flush()

    def _flush(self) -> None:
        """Whoever calls this holds the writers' lock."""
        with self._locks.flushing(self.name):
            self._server.call("flush", self.name)

    def _searching(self) -> AbstractContextManager[None]:
        return self._locks.searching(self.name) if self._server.lite else nullcontext()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else writes meanwhile; on Milvus, which needs no such thing, nothing."""
        with self._locks.writing(self.name) if self._server.lite else nullcontext():
            yield
