"""What runs beside the requests, for as long as the process serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

log = structlog.get_logger()


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Each as a task, cancelled at the end. None of them should end by itself: one that does is logged as a fault."""
    tasks = [asyncio.create_task(one) for one in work]
    for task in tasks:
        task.add_done_callback(_told)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _told(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.error("background.ended", exc_info=task.exception())
