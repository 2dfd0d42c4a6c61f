"""One who watches a task, without servers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from starlette.websockets import WebSocket

from common.errors import Forbidden, Unauthenticated
from common.settings import Settings
from common.status import Status
from common.task_views import TaskView
from router.web.live import State, Watch
from router.web.rules import PUBLIC
from router.web.streams import Streams
from router.web.websocket import TaskSocket

TASK = TaskView(
    task_id="t",
    document_id="d",
    version=1,
    knowledge_base_id="k",
    type="DOCUMENT_UPLOAD",
    status="RUNNING",
    overall_progress=0,
    error_code=None,
    error_message=None,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    started_at=None,
    completed_at=None,
    created_by="u",
    task_details=[],
)


def state(**changes: Any) -> State:
    return State.of(msgspec.structs.replace(TASK, **changes))


async def taken(watch: Watch) -> State | None:
    """What the watcher would be given now."""
    task = asyncio.create_task(watch.next())
    await asyncio.sleep(0)
    if task.done():
        return task.result()
    task.cancel()
    return None


def test_a_slow_watcher_gets_the_latest_state_and_nothing_older() -> None:
    async def look() -> None:
        watch = Watch()
        for percent in (1, 2, 3):
            watch.offer(state(overall_progress=percent))
        assert await taken(watch) == state(overall_progress=3)
        assert await taken(watch) is None

    asyncio.run(look())


def test_the_same_state_is_not_told_twice() -> None:
    async def look() -> None:
        watch = Watch()
        watch.offer(state())
        assert await taken(watch) == state()
        # Read anew, with another estimate.
        watch.offer(state(estimated_completion_time=datetime(2026, 1, 2, tzinfo=UTC)))
        assert await taken(watch) is None

    asyncio.run(look())


def test_a_watch_that_ended_says_why_ever_after() -> None:
    async def look() -> None:
        watch = Watch()
        watch.offer(state())
        watch.end(Unauthenticated())
        watch.end(Forbidden())
        watch.offer(state(overall_progress=1))
        for _ in range(2):
            with pytest.raises(Unauthenticated):
                await watch.next()

    asyncio.run(look())


def test_a_state_is_its_tasks_json_alone_and_as_an_event() -> None:
    one = state(overall_progress=41.5)
    assert msgspec.json.decode(one.message) == {"event": "task_update", "data": msgspec.json.decode(one.data)}
    assert msgspec.json.decode(one.data, type=TaskView) == msgspec.structs.replace(TASK, overall_progress=41.5)


@pytest.mark.parametrize("status", Status)
def test_a_task_has_ended_when_only_a_person_can_change_it(status: Status) -> None:
    assert state(status=status).ended == (status in ("COMPLETED", "FAILED", "CANCELLED"))


def test_a_message_that_is_not_taken_in_time_is_given_up() -> None:
    """On Linux the kernel gives up, too, but not on a client that takes a byte now and then."""
    settings = Settings(stream_send_seconds=0.01)
    streams = cast("Streams", SimpleNamespace(services=SimpleNamespace(settings=settings)))
    deaf = cast("WebSocket", SimpleNamespace(send_text=lambda _: asyncio.Event().wait()))
    with pytest.raises(TimeoutError):
        asyncio.run(TaskSocket(streams, PUBLIC)._send(deaf, "x"))
