"""Tasks: listed, looked at, followed live, cancelled, tried again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime

import httpx

from common.errors import Unavailable
from deploy.client import calls
from deploy.client.events import ServerEvent, read_events
from deploy.client.pages import items
from deploy.client.shapes import Task, TaskState, TaskStats
from deploy.client.transport import PATIENCE_SECONDS, RETRY_SECONDS, Transport, decode

# Polling, for many at once: a stream each would be more than they are worth.
_POLL_SECONDS = 0.15
_POLLED_AT_ONCE = 16
# Streams send a heartbeat every 20 seconds; one that is silent for three of them is dead.
_STREAM = httpx.Timeout(30.0, read=60.0)


class Tasks:
    def __init__(self, api: Transport) -> None:
        self._api = api

    def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        type: str | None = None,  # noqa: A002 - the field's name
        document_id: str | None = None,
        knowledge_base_id: str | None = None,
        created_by: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Iterator[Task]:
        """The newest first. `status`: one, or several; times with their zone."""
        query = {
            "status": status if status is None or isinstance(status, str) else ",".join(status),
            "type": type,
            "document_id": document_id,
            "knowledge_base_id": knowledge_base_id,
            "created_by": created_by,
            "created_after": created_after and created_after.isoformat(),
            "created_before": created_before and created_before.isoformat(),
        }
        return items(self._api, calls.LIST_TASKS, query)

    def get(self, task_id: str) -> Task:
        return self._api.call(calls.GET_TASK, task_id=task_id)

    def stats(self, *, hours: float = 24) -> TaskStats:
        return self._api.call(calls.TASK_STATS, query={"hours": hours})

    def cancel(self, task_id: str) -> TaskState:
        return self._api.call(calls.CANCEL_TASK, task_id=task_id)

    def retry(self, task_id: str) -> TaskState:
        """Go on at the step that failed."""
        return self._api.call(calls.RETRY_TASK, task_id=task_id)

    def events(self, task_id: str) -> Iterator[Task]:
        """The task now and at each change, as it is told, until it has ended, whatever restarts meanwhile."""
        seen = ""
        lost: float | None = None  # since when nobody answers
        while True:
            wait = RETRY_SECONDS
            try:
                for event in self._stream(task_id, seen):
                    lost = None
                    if event is not None and event.name == "task_update":
                        seen = event.id
                        task = decode(event.data, Task, self._api.url)
                        yield task
                        if task.ended:
                            return
            except Unavailable as error:
                lost = lost or time.monotonic()
                wait = float(error.details.get("retry_after", wait))
                if time.monotonic() + wait > lost + PATIENCE_SECONDS:
                    raise
            time.sleep(wait)

    def _stream(self, task_id: str, seen: str) -> Iterator[ServerEvent | None]:
        """The events of one connection, after a None when it stands. `seen`: the last that was heard earlier."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": seen} if seen else {})
        with self._api.stream(calls.TASK_EVENTS, headers, _STREAM, task_id=task_id) as response:
            yield None
            yield from read_events(response.iter_bytes())

    def poll(self, *task_ids: str) -> Iterator[Task]:
        """Each task now and after each look at it, in turn, until all have ended, whatever restarts meanwhile.

        Looks at a few at a time, in their order: of a thousand tasks the last ones are not worth a question yet.
        """
        open_ids = list(task_ids)
        while open_ids:
            for task_id in open_ids[:_POLLED_AT_ONCE]:
                task = self._api.call(calls.GET_TASK, patient=True, task_id=task_id)
                if task.ended:
                    open_ids.remove(task_id)
                yield task
            if open_ids:
                time.sleep(_POLL_SECONDS)
