"""A worker's row among those that are alive: written every few seconds, taken away when it ends."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog

from common import workers
from common.db import Database
from common.errors import Unavailable
from router.broker import PikaBroker

log = structlog.get_logger()

# A worker that has just started is about to be connected.
_CONNECTING_SECONDS = 1


class Presence:
    """`functions`: the steps that the worker runs, `threads` at once, and INGRESS if it takes notifications in."""

    def __init__(
        self, database: Database, broker: PikaBroker, worker_id: str, functions: Sequence[str], *, threads: int
    ) -> None:
        self._database = database
        self._broker = broker
        self._worker_id = worker_id
        self._functions = functions
        self._threads = threads

    def keep(self, stop: threading.Event) -> None:
        """Be seen until told to stop; the body of a thread."""
        while not stop.is_set():
            self._write()
            stop.wait(workers.BEAT_SECONDS)

    def _write(self) -> None:
        connected = self._broker.wait_connected(_CONNECTING_SECONDS)
        try:
            with self._database.transaction() as connection:
                workers.beat(connection, self._worker_id, self._functions, threads=self._threads, connected=connected)
        except Unavailable as error:
            log.info("worker.not_seen", reason=error.message)
        except Exception as error:  # without this thread all would say that no worker is there
            log.error("worker.not_seen", exc_info=error)

    def leave(self) -> None:
        """The worker ends; what comes too late is cleared away by its age."""
        try:
            with self._database.transaction() as connection:
                workers.leave(connection, self._worker_id)
        except Unavailable as error:
            log.info("worker.not_seen", reason=error.message)
