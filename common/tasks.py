"""Tasks as a whole: made, begun, cancelled.

All take an open transaction. What happens to a single step is common/steps.py; when its message goes out,
common/lanes.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, text

from common.pipelines import Pipeline
from common.steps import StepRef, as_json, make_ready
from common.untrusted import storable


def create(
    connection: Connection, pipeline: Pipeline, *, task_id: str, document_id: str, version: int, user_id: str
) -> None:
    """A task and all its steps, PENDING."""
    connection.execute(
        text("""
            INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by)
            SELECT :id, :type, id, :version, knowledge_base_id, :user FROM documents WHERE id = :document
        """),
        {"id": task_id, "type": pipeline.name, "document": document_id, "version": version, "user": user_id},
    )
    connection.execute(
        text("""
            INSERT INTO task_details (task_id, step_order, step_name, lane, weight)
            SELECT id, step.ordinality, step.name, knowledge_base_id, step.weight
            FROM tasks, unnest(:names ::text[], :weights ::int[]) WITH ORDINALITY AS step (name, weight, ordinality)
            WHERE id = :task
        """),
        {
            "task": task_id,
            "names": [step.name for step in pipeline.steps],
            "weights": [step.weight for step in pipeline.steps],
        },
    )


def start(connection: Connection, task_id: str, pipeline: Pipeline, details: Mapping[str, Any]) -> list[StepRef]:
    """The object has arrived: the task runs, steps that others did are COMPLETED with `details`, the next is ready."""
    first = next(order for order, step in enumerate(pipeline.steps, start=1) if step.function)
    started = connection.execute(
        text("UPDATE tasks SET status = 'RUNNING', started_at = now() WHERE id = :task AND status = 'PENDING'"),
        {"task": task_id},
    )
    if not started.rowcount:
        return []
    connection.execute(
        text("""
            UPDATE task_details
            SET status = 'COMPLETED', progress = 100, started_at = now(), completed_at = now(),
                details = :details ::jsonb
            WHERE task_id = :task AND step_order < :first
        """),
        {"task": task_id, "first": first, "details": as_json(details)},
    )
    return make_ready(connection, task_id, first)


def cancel(connection: Connection, task_ids: Iterable[str], *, code: str, message: str) -> list[str]:
    """End these tasks, unless they have ended, with the reason; what runs of them is told by its next heartbeat."""
    cancelled = connection.execute(
        text("""
            UPDATE tasks SET status = 'CANCELLED', completed_at = now(), error_code = :code, error_message = :message
            WHERE id = ANY(:tasks) AND status IN ('PENDING', 'RUNNING')
            RETURNING id
        """),
        {"tasks": list(task_ids), "code": code, "message": storable(message)},
    )
    ids = [row.id for row in cancelled]
    if ids:
        connection.execute(
            text("""
                UPDATE task_details SET status = 'CANCELLED', completed_at = now(), owner = NULL, lease_until = NULL
                WHERE task_id = ANY(:tasks) AND status IN ('PENDING', 'RUNNING')
            """),
            {"tasks": ids},
        )
    return ids
