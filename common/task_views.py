"""Tasks as clients see them: the contract's shape, read for one or many at a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, text


class StepView(msgspec.Struct, kw_only=True, frozen=True):
    """`progress` is 0..100; `attempt`: runs begun."""

    step_name: str
    step_order: int
    status: str
    progress: float
    details: dict[str, Any]
    error_code: str | None
    error_message: str | None
    attempt: int
    started_at: datetime | None
    completed_at: datetime | None


class TaskView(msgspec.Struct, kw_only=True, frozen=True):
    """`overall_progress` is the steps' progress by weight, 0..100."""

    task_id: str
    document_id: str
    version: int
    knowledge_base_id: str
    type: str
    status: str
    overall_progress: float
    error_code: str | None
    error_message: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    estimated_completion_time: datetime | None = None
    created_by: str
    task_details: list[StepView]


def read_task(connection: Connection, task_id: str) -> TaskView | None:
    return read_tasks(connection, [task_id]).get(task_id)


def read_tasks(connection: Connection, task_ids: Iterable[str]) -> dict[str, TaskView]:
    """These tasks by id; those that do not exist are left out."""
    ids = list(task_ids)
    tasks = connection.execute(
        text("""
            SELECT id AS task_id, document_id, version, knowledge_base_id, type, status, error_code, error_message,
                created_at, started_at, completed_at, created_by
            FROM tasks WHERE id = ANY(:ids)
        """),
        {"ids": ids},
    ).mappings()
    steps = connection.execute(
        text("""
            SELECT task_id, step_name, step_order, status, progress, details, error_code, error_message, attempt,
                weight, started_at, completed_at
            FROM task_details WHERE task_id = ANY(:ids) AND batch = 0 ORDER BY task_id, step_order
        """),
        {"ids": ids},
    ).mappings()
    of_task: dict[str, list[dict[str, Any]]] = {}
    for step in steps:
        row = dict(step)
        of_task.setdefault(row.pop("task_id"), []).append(row)
    return {task["task_id"]: _view(dict(task), of_task.get(task["task_id"], [])) for task in tasks}


def _view(task: dict[str, Any], steps: list[dict[str, Any]]) -> TaskView:
    weights = [step.pop("weight") for step in steps]
    done = sum(weight * step["progress"] for weight, step in zip(weights, steps, strict=True))
    return TaskView(
        **task,
        overall_progress=round(done / (sum(weights) or 1), 1),
        task_details=[StepView(**step) for step in steps],
    )
