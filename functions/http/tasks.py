"""GET /tasks/{id}: a task with its steps, as the database has it this moment."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from common.errors import NotFound
from common.http import Call, Reply


def get_task(call: Call) -> Reply:
    task_id = call.path["task_id"]
    with call.services.database.transaction() as connection:
        task = read_task(connection, task_id)
    if task is None:
        raise NotFound(f"There is no task {task_id!r}.")
    return Reply(task)


def read_task(connection: Connection, task_id: str) -> dict[str, Any] | None:
    """The task in the contract's shape. Overall progress is the steps' progress by weight, from 0 to 100."""
    task = (
        connection.execute(
            text("""
                SELECT id AS task_id, document_id, version, type, status, error_code, error_message,
                    created_at, started_at, completed_at, created_by
                FROM tasks WHERE id = :id
            """),
            {"id": task_id},
        )
        .mappings()
        .one_or_none()
    )
    if task is None:
        return None
    steps = connection.execute(
        text("""
            SELECT step_name, step_order, status, progress, details, error_code, error_message, attempt, weight,
                started_at, completed_at
            FROM task_details WHERE task_id = :id AND batch = 0 ORDER BY step_order
        """),
        {"id": task_id},
    ).mappings()
    details = [dict(step) for step in steps]
    weights = [step.pop("weight") for step in details]
    done = sum(weight * step["progress"] for weight, step in zip(weights, details, strict=True))
    return dict(task) | {
        "overall_progress": round(done / (sum(weights) or 1), 1),
        "estimated_completion_time": None,
        "task_details": details,
    }
