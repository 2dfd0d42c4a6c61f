"""The locks that Milvus Lite needs, which all processes share by Postgres; Milvus needs none.

Milvus Lite 3.2.2 does not guard a collection against two requests at once, reads excepted (tried, and read in its
engine/collection.py and storage/wal.py):
- Two writers open the write-ahead log twice or mix their records in it. Nobody notices while it runs; after a kill
  and a restart 356 of 480 acknowledged rows were gone.
- A flush swaps the table in memory and the log one after the other: an upsert between the two lands in a table that
  is no longer read, or in a log that is deleted. Two flushes at once fail with "current_seq is monotonic".
- A read that overlaps a flush can miss the rows being flushed, for that one answer.
So every write and flush of a collection, and the reads that must be exact, hold one lock. Searches wait for no writer;
they hold another lock together, which a flush has alone. To list the collections opens those that are not open yet,
so that is kept apart from making and dropping one.

One thing no client can guard: the first two requests after a start of Milvus Lite, be they reads, may each open the
collection, and what is written through one of the two is lost. Who starts the server lets nobody in before it has
opened its collections.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from common.db import Database
from common.settings import Settings


class Locks:
    def __init__(self, settings: Settings) -> None:
        self.opening = threading.RLock()
        self._names = f"milvus-collections:{settings.collection}"
        # This process's writers queue here, so that one connection to Postgres is enough for them all.
        self._mutex = threading.Lock()
        self._database = Database(settings, connections=1)
        # Connections of their own: a search that waits must not hold one that a writer needs.
        self._searching = Database(settings)

    @contextmanager
    def writing(self, collection: str) -> Iterator[None]:
        """Nobody else writes to it meanwhile, on any machine. Not to be held of two collections at once."""
        with self._mutex, self._database.exclusive(f"milvus:{collection}"):
            yield

    @contextmanager
    def flushing(self, collection: str) -> Iterator[None]:
        """Nobody searches in it meanwhile. Whoever asks for this holds `writing`."""
        with self._searching.exclusive(f"milvus-flush:{collection}"):
            yield

    @contextmanager
    def searching(self, collection: str) -> Iterator[None]:
        with self._searching.shared(f"milvus-flush:{collection}"):
            yield

    @contextmanager
    def naming(self) -> Iterator[None]:
        """No collection of ours is made, dropped or listed meanwhile by anybody else. Before `writing`."""
        with self._searching.exclusive(self._names):
            yield

    @contextmanager
    def listing(self) -> Iterator[None]:
        with self._searching.shared(self._names):
            yield

    def close(self) -> None:
        self._database.close()
        self._searching.close()
