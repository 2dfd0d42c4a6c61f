"""The threads that requests are answered in, in fair shares: who asks for much at once waits in a line of their own.

asyncio's executor, and not Starlette's thread pool: it hands over in half of the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 40  # as many as Starlette has


@dataclass(slots=True)
class _Line:
    places: asyncio.Semaphore
    length: int = 0


class Shares:
    """`each`: how many requests with one credential are answered at once. Used on one event loop."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._threads = ThreadPoolExecutor(_THREADS, "request")
        self._lines: dict[str, _Line] = {}

    async def run(self, credential: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `call` returns, as soon as there is a place for it. All who show nothing stand in one line."""
        line = self._lines.get(credential)
        if line is None:
            line = self._lines[credential] = _Line(asyncio.Semaphore(self._each))
        line.length += 1
        try:
            async with line.places:
                loop = asyncio.get_running_loop()
                context = copy_context()  # the request's id, for the log
                return await loop.run_in_executor(self._threads, lambda: context.run(call, *args, **kwargs))
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[credential]

    def close(self) -> None:
        self._threads.shutdown(wait=False)
