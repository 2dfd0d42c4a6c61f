"""Tasks: one or many with their steps, as the database has them this moment; to cancel one, and to try it again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from common import access, audit, task_lists, task_requests
from common.errors import NotFound
from common.http import Call
from common.paging import Cursor, Limit
from common.status import Status
from common.task_lists import TaskFilter
from common.task_views import TaskView, read_task

Id = Annotated[str, msgspec.Meta(max_length=200)]
Moment = Annotated[datetime, msgspec.Meta(tz=True, description="With a time zone: 2026-11-22T12:00:00Z.")]

_STATUSES = "|".join(status for status in Status if status != Status.SKIPPED)


class TaskQuery(msgspec.Struct, kw_only=True, frozen=True):
    status: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=200,
                pattern=rf"^({_STATUSES})(,({_STATUSES}))*\Z",
                description="One status, or several with commas in between.",
                examples=["PENDING,RUNNING"],
            ),
        ]
        | None
    ) = None
    type: Id | None = None
    document_id: Id | None = None
    knowledge_base_id: Id | None = None
    created_by: Id | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class TaskPage(msgspec.Struct, kw_only=True, frozen=True):
    """Newest first."""

    items: list[TaskView]
    next_cursor: str | None


class TaskState(msgspec.Struct, kw_only=True, frozen=True):
    task_id: str
    status: str


def list_tasks(call: Call, query: TaskQuery) -> TaskPage:
    """The tasks of the caller's knowledge bases, newest first."""
    with call.services.database.transaction() as connection:
        wanted = TaskFilter(
            bases=access.bases_of_tasks(connection, call.caller),
            statuses=[Status(one) for one in query.status.split(",")] if query.status else None,
            type=query.type,
            document_id=query.document_id,
            knowledge_base_id=query.knowledge_base_id,
            created_by=query.created_by,
            created_after=query.created_after,
            created_before=query.created_before,
        )
        items, following = task_lists.page(connection, wanted, cursor=query.cursor, limit=query.limit)
    return TaskPage(items=items, next_cursor=following)


def get_task(call: Call) -> TaskView:
    """A task with its steps."""
    task_id = call.path["task_id"]
    with call.services.database.transaction() as connection:
        task = read_task(connection, task_id)
    if task is None:
        raise NotFound(f"There is no task {task_id!r}.")
    return task


def cancel_task(call: Call) -> TaskState:
    """End a task's work within seconds, for good. A task that is cancelled already stays so."""
    task_id = call.path["task_id"]
    with call.services.database.transaction() as connection:
        status = task_requests.cancel(connection, task_id)
        audit.record(connection, call.caller, "task.cancel", task_id)
    return TaskState(task_id=task_id, status=status)


def retry_task(call: Call) -> TaskState:
    """Let a failed task go on at the step that failed. What earlier steps made is used again."""
    task_id = call.path["task_id"]
    with call.services.database.transaction() as connection:
        ready = task_requests.retry(connection, task_id)
        audit.record(connection, call.caller, "task.retry", task_id)
    call.send(ready)
    return TaskState(task_id=task_id, status=Status.RUNNING)
