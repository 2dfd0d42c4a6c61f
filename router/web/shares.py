"""Threads in fair shares: who asks for much at once waits in a line of their own, and not in everybody's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class _Line:
    places: asyncio.Semaphore
    waiting: int = 0


class Shares:
    """`each`: how many requests with one credential are answered at once. Used on one event loop."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def one(self, credential: str) -> AsyncIterator[None]:
        """A place, as soon as one is free. All who show nothing stand in one line."""
        line = self._lines.setdefault(credential, _Line(asyncio.Semaphore(self._each)))
        line.waiting += 1
        try:
            async with line.places:
                yield
        finally:
            line.waiting -= 1
            if not line.waiting:
                del self._lines[credential]
