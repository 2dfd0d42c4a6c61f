"""The index: all collections of ours. Each model has its own, since vectors of two models cannot be compared.

`<BRIGADE_COLLECTION>_<fingerprint of the model and the schema>` is the current one, and the only one that is written.
While documents are processed anew for another model, what the others hold is found as well: by its words in any case,
by its meaning where their model is at hand (BRIGADE_PREVIOUS_MODEL_DIR). What must be exact looks into all of them, and
so do deletions. The one that is called just BRIGADE_COLLECTION is of the first release.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from threading import RLock
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.index.collection import MilvusCollection
from common.index.fusion import fuse
from common.index.locks import Locks
from common.index.rows import Found, Hit, Row, checked, of_chunks, of_document, of_versions, one_of
from common.index.schema import SCHEMA
from common.index.server import NoCollection, Server
from common.manifest import Manifest
from common.once import once
from common.settings import Settings

Mode = Literal["hybrid", "dense", "keyword"]

# How long a search may not know of a collection that somebody has made.
_LISTED_SECONDS = 5.0


class Index:
    def __init__(self, settings: Settings, manifest: Manifest | None = None, *, locks: Locks | None = None) -> None:
        """`manifest`: of the model that writes; None: that in BRIGADE_MODEL_DIR, read when first needed."""
        self.opening = RLock()
        self._settings = settings
        self._manifest = manifest
        self._server = Server(settings)
        self._locks = locks or Locks(settings)
        self._ours = re.compile(re.escape(settings.collection) + r"(_[0-9a-f]{8})?")
        self._known: dict[str, MilvusCollection] = {}
        self._listed_at = float("-inf")
        self._listed: list[str] = []

    @once
    def manifest(self) -> Manifest:
        return self._manifest or Manifest.read(self._settings.model_dir)

    @once
    def model(self) -> str:
        """What tells the current model's vectors from those of another."""
        return self.manifest.fingerprint(0)

    @property
    def name(self) -> str:
        """Of the current collection."""
        return self.current.name

    @once
    def current(self) -> MilvusCollection:
        return self._collection(self._name_for(self.manifest))

    def ensure(self) -> None:
        """Make the current collection as far as that is not done. Any number may call it at once."""
        self.current.ensure(self.manifest.dimension, model=self.manifest.name)

    def others(self) -> list[str]:
        """The names of our other collections."""
        return [one.name for one in self._others()]

    def dimension(self, name: str) -> int:
        return self._collection(name).dimension

    def rows(self, name: str) -> int:
        """How many rows one of our collections has; exact."""
        return self._collection(name).count()

    def drop(self, name: str) -> None:
        """One of the others is gone, whatever it holds."""
        if name == self.name:
            raise ValueError(f"{name} is the collection that is written.")
        self._collection(name).drop()

    def upsert(self, rows: Iterable[Row]) -> int:
        """Write rows, replacing those of the same id; how many. Consumes `rows` lazily, so it may be any length."""
        return self.current.upsert(rows)

    def delete_elsewhere(self, document_id: str, version: int) -> None:
        """Delete this version's rows in the other collections: a run with another model may have left some."""
        self._delete(of_versions(document_id, [version]), self._recent_others())

    def delete_document(self, document_id: str) -> None:
        """Delete every version's rows. Harmless when there are none."""
        self._delete(of_document(document_id), self._all())

    def delete_each(self, versions: Collection[tuple[str, int]]) -> None:
        """Delete the rows of these versions of these documents at once."""
        if versions:
            where = " or ".join(f"({of_versions(document, [number])})" for document, number in versions)
            self._delete(where, self._all())

    def delete_versions(self, document_id: str, versions: Collection[int]) -> None:
        """Delete the rows of these versions of the document."""
        if versions:
            self._delete(of_versions(document_id, versions), self._all())

    def delete_chunks(self, document_id: str, version: int, *, beyond: int) -> None:
        """Delete the rows of this version from chunk number `beyond` on."""
        self._delete(f"{of_versions(document_id, [version])} and chunk >= {int(beyond)}", self._all())

    def count(self, document_id: str) -> int:
        """How many rows the document has, over all versions; exact."""
        where, total = of_document(document_id), 0
        for one in self._all():
            with self._unless_dropped(one):
                total += one.count(where)
        return total

    def ids(self, document_id: str) -> list[str]:
        """`<document_id>:<version>:<chunk>` of each of the document's rows; exact."""
        where, found = of_document(document_id), list[str]()
        for one in self._all():
            with self._unless_dropped(one):
                found += one.ids(where)
        return found

    def chunks(self, document_ids: Collection[str] | None = None) -> Iterator[list[tuple[str, int, int]]]:
        """(document id, version, chunk) of every row, or of every row of these documents, in pages.

        What is written meanwhile may be missed.
        """
        where = "" if document_ids is None else one_of("document_id", document_ids)
        for one in self._all():
            with self._unless_dropped(one):
                yield from one.chunks(where)

    @property
    def wants_previous(self) -> bool:
        """Whether a search needs the question's vector by the model in BRIGADE_PREVIOUS_MODEL_DIR, too."""
        return any(self._is_previous(one) for one in self._recent_others())

    def search(
        self,
        query: str,
        vector: NDArray[np.float32] | None,
        *,
        previous: NDArray[np.float32] | None = None,
        depth: int,
        mode: Mode = "hybrid",
        knowledge_base_ids: Sequence[str],
        document_ids: Sequence[str] | None = None,
    ) -> Found:
        """The passages of these knowledge bases (of these documents only, if given), best first: of each list the best
        `depth`.

        `vector`: the query's embedding, shape (dimension,), and the `previous` model's if it is wanted; not needed for
        "keyword", as `query` is not for "dense".
        """
        if not knowledge_base_ids or (document_ids is not None and not document_ids):
            return Found([], complete=True)
        where = one_of("knowledge_base_id", knowledge_base_ids)
        if document_ids is not None:
            where += f" and {one_of('document_id', document_ids)}"
        lists: list[list[Hit]] = []
        for one in [self.current, *self._recent_others()]:
            with self._unless_dropped(one):
                own = None if mode == "keyword" else self._vector_for(one, vector, previous)
                words = None if mode == "dense" else query
                lists += one.search(own, words, where, depth)
        hits = fuse(lists) if len(lists) > 1 else lists[0]
        return Found(hits, complete=all(len(one) < depth for one in lists))

    def get(self, chunks: Collection[tuple[str, int, int]]) -> list[Hit]:
        """Those of these chunks (document id, version, chunk) that are there, in no order."""
        ids = [f"{checked(document)}:{int(version)}:{int(chunk)}" for document, version, chunk in chunks]
        found: list[Hit] = []
        for one in [self.current, *self._recent_others()] if ids else ():
            with self._unless_dropped(one):
                found += one.get(ids)
        return found

    def vectors(self, document_id: str, *, before: int, hashes: Collection[str]) -> dict[str, bytes]:
        """Little-endian float32 by the hash of its passage, of those that a version `before` this one has, made by the
        current model."""
        if not hashes:
            return {}
        return self.current.vectors(of_chunks(document_id, before=before, hashes=hashes))

    def flush(self) -> None:
        """Milvus Lite only: make fresh rows fast to search."""
        if self._server.lite:
            for one in self._all():
                with self._unless_dropped(one):
                    one.flush()

    def ping(self) -> None:
        """Raise `Unavailable` unless the server answers."""
        self._server.call("get_server_version")

    def close(self) -> None:
        self._server.close()
        self._locks.close()

    def _all(self) -> list[MilvusCollection]:
        return [self.current, *self._others()]

    def _others(self) -> list[MilvusCollection]:
        """As Milvus lists them now."""
        with self._locks.listing() if self._server.lite else nullcontext():
            listed = self._server.call("list_collections")
        self._listed_at = time.monotonic()
        self._listed = sorted(name for name in listed if self._ours.fullmatch(name) and name != self.name)
        return list(map(self._collection, self._listed))

    def _recent_others(self) -> list[MilvusCollection]:
        if time.monotonic() - self._listed_at > _LISTED_SECONDS:
            return self._others()
        return list(map(self._collection, self._listed))

    def _collection(self, name: str) -> MilvusCollection:
        if name not in self._known:
            self._known[name] = MilvusCollection(
                name, self._server, self._locks, flush_rows=self._settings.index_flush_rows
            )
        return self._known[name]

    def _unless_dropped(self, one: MilvusCollection) -> AbstractContextManager[bool | None]:
        """Of the others one may be dropped at any moment, when nothing that shows is in it; the current one must be
        there."""
        return nullcontext() if one is self.current else suppress(NoCollection)

    def _delete(self, where: str, collections: Iterable[MilvusCollection]) -> None:
        for one in collections:
            with self._unless_dropped(one):
                one.delete(where)

    def _vector_for(
        self,
        one: MilvusCollection,
        vector: NDArray[np.float32] | None,
        previous: NDArray[np.float32] | None,
    ) -> NDArray[np.float32] | None:
        """The question by the collection's own model; None: that is not at hand."""
        if one is self.current:
            return vector
        if self._is_previous(one):
            return previous
        # The first release noted no model. Who has gone on with theirs has one of the same dimension.
        return vector if one.is_plain and one.dimension == self.manifest.dimension else None

    def _is_previous(self, one: MilvusCollection) -> bool:
        previous = self._previous
        if previous is None:
            return False
        with self._unless_dropped(one):
            return one.name == self._name_for(previous) or (one.is_plain and one.dimension == previous.dimension)
        return False

    @once
    def _previous(self) -> Manifest | None:
        directory = self._settings.previous_model_dir
        return None if directory is None else Manifest.read(directory)

    def _name_for(self, manifest: Manifest) -> str:
        return f"{self._settings.collection}_{manifest.fingerprint(SCHEMA)}"
