"""Tasks: one with its steps, as the database has it this moment."""

from __future__ import annotations

from common.errors import NotFound
from common.http import Call
from common.task_views import TaskView, read_task


def get_task(call: Call) -> TaskView:
    """A task with its steps."""
    task_id = call.path["task_id"]
    with call.services.database.transaction() as connection:
        task = read_task(connection, task_id)
    if task is None:
        raise NotFound(f"There is no task {task_id!r}.")
    return task
