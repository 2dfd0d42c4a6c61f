"""Tasks as a whole: made, begun, cancelled; and which of their messages are to be sent.

All take an open transaction. What happens to a single step is common/steps.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from common.pipelines import Pipeline
from common.steps import StepRef, as_json, key, make_ready
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
            INSERT INTO task_details (task_id, step_order, step_name, weight)
            SELECT :task, step.ordinality, step.name, step.weight
            FROM unnest(:names ::text[], :weights ::int[]) WITH ORDINALITY AS step (name, weight, ordinality)
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


def unsent_after(connection: Connection, ref: StepRef) -> list[StepRef]:
    """The messages that follow `ref` and have perhaps never been sent."""
    rows = connection.execute(
        text("""
            SELECT task_id, step_order, step_name, batch FROM task_details
            WHERE task_id = :task AND step_order = :step + 1
                AND status = 'PENDING' AND ready_at IS NOT NULL AND published_at IS NULL
        """),
        key(ref),
    )
    return [StepRef(*row) for row in rows]


def overdue(
    connection: Connection, *, steps: Iterable[str], unsent_seconds: float, lost_seconds: float, limit: int
) -> list[tuple[StepRef, str]]:
    """Runs of these steps whose message may not exist, each with its task's type. They are taken as sent now.

    It was not sent within `unsent_seconds`; or its worker died, and in so long nobody has taken over; or it was sent,
    and nothing has come of it for `lost_seconds`.
    """
    rows = connection.execute(
        text("""
            UPDATE task_details AS step SET published_at = now()
            FROM tasks AS task
            WHERE task.id = step.task_id
                AND (step.task_id, step.step_order, step.batch) IN (
                    SELECT due.task_id, step_order, batch
                    FROM task_details AS due JOIN tasks AS running ON running.id = due.task_id
                    WHERE running.status = 'RUNNING' AND step_name = ANY(:steps)
                        AND (due.status = 'PENDING' AND ready_at IS NOT NULL
                                 AND (published_at IS NULL
                                          AND greatest(ready_at, not_before) < now() - :unsent * interval '1 second'
                                      OR greatest(published_at, not_before) < now() - :lost * interval '1 second')
                             OR due.status = 'RUNNING' AND owner IS NOT NULL
                                 AND lease_until < now() - :unsent * interval '1 second'
                                 AND (coalesce(published_at < lease_until, true)
                                      OR published_at < now() - :lost * interval '1 second'))
                    ORDER BY ready_at LIMIT :limit FOR UPDATE OF due SKIP LOCKED)
            RETURNING step.task_id, step.step_order, step.step_name, step.batch, task.type
        """),
        {"steps": list(steps), "unsent": unsent_seconds, "lost": lost_seconds, "limit": limit},
    )
    return [(StepRef(row.task_id, row.step_order, row.step_name, row.batch), row.type) for row in rows]


def mark_published(connection: Connection, refs: Sequence[StepRef]) -> None:
    """RabbitMQ has these messages. Steps that are at work or in other hands need no mark; so it waits for nobody."""
    connection.execute(
        text("""
            UPDATE task_details SET published_at = now()
            WHERE (task_id, step_order, batch) IN (
                SELECT step.task_id, step.step_order, step.batch
                FROM unnest(:tasks ::text[], :steps ::int[], :batches ::int[]) AS given (task_id, step_order, batch)
                    JOIN task_details AS step
                        ON (step.task_id, step.step_order, step.batch) = (given.task_id, given.step_order, given.batch)
                WHERE step.status = 'PENDING' AND step.published_at IS NULL
                FOR NO KEY UPDATE OF step SKIP LOCKED)
        """),
        {
            "tasks": [ref.task_id for ref in refs],
            "steps": [ref.step_order for ref in refs],
            "batches": [ref.batch for ref in refs],
        },
    )
