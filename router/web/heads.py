"""HTTP as uvicorn speaks it, to clients that begin their requests in time: it alone waits for ever for the first byte.

Such connections cost whoever opens them nothing, and this process a descriptor each.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class PunctualProtocol(H11Protocol):
    """Closes a connection whose next request's head is not there `head_seconds` after it could have begun."""

    def __init__(self, *args: Any, head_seconds: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_seconds = head_seconds
        self._idle_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._note()
        self._timer = self.loop.call_later(self._head_seconds, self._look)

    def handle_events(self) -> None:
        super().handle_events()
        self._note()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = self.loop.time()

    def _look(self) -> None:
        """One timer a connection, set anew when it is over: one a request would cost each of them."""
        now = self.loop.time()
        until = (now if self._idle_since is None else self._idle_since) + self._head_seconds
        if until <= now:
            self.timeout_keep_alive_handler()
        else:
            self._timer = self.loop.call_at(until, self._look)
