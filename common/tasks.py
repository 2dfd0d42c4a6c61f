"""Every change of a task's or step's state: each a guarded UPDATE, so that whoever comes late changes nothing.

The protocol that uses them is router/runtime.py. All take an open transaction. Where both a task and its steps
change, the task's row is locked first, so that finishing and cancelling never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, text

from common.artifacts import Artifact, Written
from common.context import Target
from common.pipelines import Pipeline


@dataclass(frozen=True, slots=True, order=True)
class StepRef:
    """The name of one run to be made, and all that a message carries. `batch` 0: the step is not shared out."""

    task_id: str
    step_order: int
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """A step that is ours until its lease ends."""

    ref: StepRef
    attempt: int
    target: Target
    inputs: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True)
class Busy:
    """Another worker holds the step, or its retry is not yet due: come back in so many seconds."""

    seconds: float


class Ended:
    """The step is completed, failed, cancelled or unknown: nothing to do but to hand on what it left."""


def create(
    connection: Connection, pipeline: Pipeline, *, task_id: str, document_id: str, version: int, user_id: str
) -> None:
    """A task and all its steps, PENDING."""
    connection.execute(
        text("""
            INSERT INTO tasks (id, type, document_id, version, created_by)
            VALUES (:id, :type, :document, :version, :user)
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
        {"task": task_id, "first": first, "details": _json(details)},
    )
    return _make_ready(connection, task_id, first)


def claim(connection: Connection, ref: StepRef, *, owner: str, lease_seconds: float) -> Claim | Busy | Ended:
    """Take the step, if it is ready and nobody live holds it."""
    row = connection.execute(
        text("""
            UPDATE task_details AS step
            SET status = 'RUNNING', owner = :owner, lease_until = now() + :lease * interval '1 second',
                attempt = attempt + 1, started_at = coalesce(step.started_at, now()), not_before = NULL
            FROM tasks AS task
                -- A removal's own rows may be gone already when it is run again.
                LEFT JOIN documents AS document ON document.id = task.document_id
                LEFT JOIN document_versions AS version
                    ON (version.document_id, version.version) = (task.document_id, task.version)
            WHERE (step.task_id, step.step_order, step.batch) = (:task, :step, :batch)
                AND task.id = step.task_id AND task.status = 'RUNNING' AND step.ready_at IS NOT NULL
                AND (step.status = 'PENDING' AND coalesce(step.not_before <= now(), true)
                     OR step.status = 'RUNNING' AND step.lease_until < now())
            RETURNING step.attempt, step.input_first, step.input_last,
                task.document_id, task.version, document.knowledge_base_id, document.name,
                document.bucket_name, document.object_key, version.etag, version.store_version_id
        """),
        _key(ref) | {"owner": owner, "lease": lease_seconds},
    ).one_or_none()
    if row is None:
        return _refusal(connection, ref)
    target = Target(
        task_id=ref.task_id,
        document_id=row.document_id,
        version=row.version,
        knowledge_base_id=row.knowledge_base_id or "",
        name=row.name or "",
        bucket=row.bucket_name or "",
        key=row.object_key or "",
        etag=row.etag or "",
        version_id=row.store_version_id,
    )
    return Claim(ref, row.attempt, target, _inputs(connection, ref, row))


def _refusal(connection: Connection, ref: StepRef) -> Busy | Ended:
    seconds = connection.execute(
        text("""
            SELECT extract(epoch FROM coalesce(step.lease_until, step.not_before, now()) - now())
            FROM task_details AS step JOIN tasks AS task ON task.id = step.task_id
            WHERE (step.task_id, step.step_order, step.batch) = (:task, :step, :batch)
                AND task.status = 'RUNNING' AND step.ready_at IS NOT NULL AND step.status IN ('PENDING', 'RUNNING')
        """),
        _key(ref),
    ).scalar_one_or_none()
    return Ended() if seconds is None else Busy(float(seconds))


def _inputs(connection: Connection, ref: StepRef, row: Row[Any]) -> tuple[Artifact, ...]:
    """What the nearest earlier step that made something has made: one artifact, or one for each of its batches."""
    made = connection.execute(
        text("""
            SELECT output, output_key FROM task_details
            WHERE task_id = :task AND (output IS NOT NULL OR output_key IS NOT NULL)
                AND step_order = (SELECT max(step_order) FROM task_details
                                  WHERE task_id = :task AND step_order < :step
                                      AND (output IS NOT NULL OR output_key IS NOT NULL))
            ORDER BY batch
        """),
        {"task": ref.task_id, "step": ref.step_order},
    )
    span = (row.input_first, row.input_last) if row.input_last is not None else None
    return tuple(Artifact(inline=_bytes(one.output), key=one.output_key, span=span) for one in made)


def finish(
    connection: Connection,
    ref: StepRef,
    *,
    owner: str,
    pipeline: Pipeline,
    details: Mapping[str, Any],
    written: Written | None = None,
) -> list[StepRef] | None:
    """The step is COMPLETED and what follows it is ready; returns the messages to send.

    None: the lease was lost, or the task ended meanwhile, and nothing was written down.
    """
    output = written.artifact if written else Artifact()
    finished = connection.execute(
        text("""
            WITH task AS (SELECT id FROM tasks WHERE id = :task AND status = 'RUNNING' FOR NO KEY UPDATE)
            UPDATE task_details AS step
            SET status = 'COMPLETED', progress = 100, completed_at = now(), owner = NULL, lease_until = NULL,
                error_code = NULL, error_message = NULL, details = :details ::jsonb,
                output = :inline, output_key = :key, output_cuts = :cuts
            FROM task
            WHERE (step.task_id, step.step_order, step.batch) = (task.id, :step, :batch)
                AND step.status = 'RUNNING' AND step.owner = :owner
        """),
        _key(ref)
        | {
            "owner": owner,
            "details": _json(details),
            "inline": output.inline,
            "key": output.key,
            "cuts": list(written.cuts) if written else None,
        },
    )
    if not finished.rowcount:
        return None
    if ref.batch and not _was_last_batch(connection, ref):
        return []
    if ref.step_order == len(pipeline.steps):
        _complete(connection, ref.task_id)
        return []
    if pipeline.steps[ref.step_order].batch:  # orders count from 1, so this is the next step
        return _fan_out(connection, ref.task_id, ref.step_order + 1)
    return _make_ready(connection, ref.task_id, ref.step_order + 1)


def _was_last_batch(connection: Connection, ref: StepRef) -> bool:
    """Count the batch on its step's row; the one that completes the count completes the step."""
    done = connection.execute(
        text("""
            UPDATE task_details
            SET batches_done = batches_done + 1,
                progress = greatest(progress, 100.0 * (batches_done + 1) / batches),
                status = CASE WHEN batches_done + 1 = batches THEN 'COMPLETED' ELSE status END,
                completed_at = CASE WHEN batches_done + 1 = batches THEN now() END,
                details = details || jsonb_build_object('batches', batches, 'batches_done', batches_done + 1)
            WHERE (task_id, step_order, batch) = (:task, :step, 0)
            RETURNING batches_done = batches AS all_done
        """),
        _key(ref),
    ).scalar_one()
    return bool(done)


def _complete(connection: Connection, task_id: str) -> None:
    connection.execute(
        text("UPDATE tasks SET status = 'COMPLETED', completed_at = now() WHERE id = :task"), {"task": task_id}
    )


def _make_ready(connection: Connection, task_id: str, step_order: int) -> list[StepRef]:
    connection.execute(
        text("UPDATE task_details SET ready_at = now() WHERE (task_id, step_order, batch) = (:task, :step, 0)"),
        {"task": task_id, "step": step_order},
    )
    return [StepRef(task_id, step_order)]


def _fan_out(connection: Connection, task_id: str, step_order: int) -> list[StepRef]:
    """One row and one message for each share of what the nearest earlier step made."""
    batches = connection.execute(
        text("""
            WITH made AS (
                SELECT output_cuts FROM task_details
                WHERE task_id = :task AND step_order < :step AND output_cuts IS NOT NULL
                ORDER BY step_order DESC LIMIT 1)
            INSERT INTO task_details (task_id, step_order, batch, step_name, ready_at, input_first, input_last)
            SELECT task_id, step_order, share.batch, step_name, now(),
                lag(share.last, 1, 0) OVER (ORDER BY share.batch), share.last
            FROM task_details, made, unnest(made.output_cuts) WITH ORDINALITY AS share (last, batch)
            WHERE (task_id, step_order, task_details.batch) = (:task, :step, 0)
            RETURNING task_details.batch
        """),
        {"task": task_id, "step": step_order},
    ).scalars()
    refs = [StepRef(task_id, step_order, batch) for batch in batches]
    connection.execute(
        text("""
            UPDATE task_details SET status = 'RUNNING', started_at = now(), batches = :batches, batches_done = 0
            WHERE (task_id, step_order, batch) = (:task, :step, 0)
        """),
        {"task": task_id, "step": step_order, "batches": len(refs)},
    )
    return refs


def fail(
    connection: Connection, ref: StepRef, *, owner: str, code: str, message: str, details: Mapping[str, Any]
) -> bool:
    """The step and its task are FAILED, for the reason given. False: it was no longer ours."""
    reason = {"code": code, "message": message, "details": _json(details)}
    failed = connection.execute(
        text("""
            WITH task AS (SELECT id FROM tasks WHERE id = :task AND status = 'RUNNING' FOR NO KEY UPDATE)
            UPDATE task_details AS step
            SET status = 'FAILED', completed_at = now(), owner = NULL, lease_until = NULL,
                error_code = :code, error_message = :message, details = step.details || :details ::jsonb
            FROM task
            WHERE (step.task_id, step.step_order, step.batch) = (task.id, :step, :batch)
                AND step.status = 'RUNNING' AND step.owner = :owner
        """),
        _key(ref) | reason | {"owner": owner},
    )
    if not failed.rowcount:
        return False
    connection.execute(
        text("""
            UPDATE tasks SET status = 'FAILED', completed_at = now(), error_code = :code, error_message = :message
            WHERE id = :task
        """),
        _key(ref) | reason,
    )
    if ref.batch:  # a batch fails its step
        connection.execute(
            text("""
                UPDATE task_details
                SET status = 'FAILED', completed_at = now(), error_code = :code, error_message = :message
                WHERE (task_id, step_order, batch) = (:task, :step, 0)
            """),
            _key(ref) | reason,
        )
    return True


def retry_later(connection: Connection, ref: StepRef, *, owner: str, seconds: float, code: str, message: str) -> bool:
    """The step waits for another run; its reason shows meanwhile. False: it was no longer ours."""
    put_back = connection.execute(
        text("""
            UPDATE task_details
            SET status = 'PENDING', owner = NULL, lease_until = NULL, published_at = NULL,
                not_before = now() + :seconds * interval '1 second', error_code = :code, error_message = :message
            WHERE (task_id, step_order, batch) = (:task, :step, :batch) AND status = 'RUNNING' AND owner = :owner
        """),
        _key(ref) | {"owner": owner, "seconds": seconds, "code": code, "message": message},
    )
    return bool(put_back.rowcount)


def cancel(connection: Connection, task_ids: Iterable[str], *, code: str, message: str) -> list[str]:
    """End these tasks, unless they have ended, with the reason; what runs of them is told by its next heartbeat."""
    cancelled = connection.execute(
        text("""
            UPDATE tasks SET status = 'CANCELLED', completed_at = now(), error_code = :code, error_message = :message
            WHERE id = ANY(:tasks) AND status IN ('PENDING', 'RUNNING')
            RETURNING id
        """),
        {"tasks": list(task_ids), "code": code, "message": message},
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


def release(connection: Connection, ref: StepRef, *, owner: str) -> None:
    """Give the step back as if it had not been claimed: this worker is going away."""
    connection.execute(
        text("""
            UPDATE task_details SET status = 'PENDING', owner = NULL, lease_until = NULL, attempt = attempt - 1
            WHERE (task_id, step_order, batch) = (:task, :step, :batch) AND status = 'RUNNING' AND owner = :owner
        """),
        _key(ref) | {"owner": owner},
    )


def renew(connection: Connection, refs: Iterable[StepRef], *, owner: str, lease_seconds: float) -> set[StepRef]:
    """Prolong the leases of these steps; returns those that are still the owner's."""
    renewed = connection.execute(
        text("""
            UPDATE task_details AS step SET lease_until = now() + :lease * interval '1 second'
            FROM tasks AS task,
                unnest(:tasks ::text[], :steps ::int[], :batches ::int[]) AS given (task_id, step_order, batch)
            WHERE (step.task_id, step.step_order, step.batch) = (given.task_id, given.step_order, given.batch)
                AND step.owner = :owner AND step.status = 'RUNNING'
                AND task.id = step.task_id AND task.status = 'RUNNING'
            RETURNING step.task_id, step.step_order, step.batch
        """),
        _columns(refs) | {"owner": owner, "lease": lease_seconds},
    )
    return {StepRef(row.task_id, row.step_order, row.batch) for row in renewed}


def set_progress(connection: Connection, ref: StepRef, *, owner: str, percent: float) -> None:
    """Progress never goes back."""
    connection.execute(
        text("""
            UPDATE task_details SET progress = greatest(progress, :percent)
            WHERE (task_id, step_order, batch) = (:task, :step, :batch) AND status = 'RUNNING' AND owner = :owner
        """),
        _key(ref) | {"owner": owner, "percent": percent},
    )


def unsent_after(connection: Connection, ref: StepRef) -> list[StepRef]:
    """The messages that follow `ref` and have perhaps never been sent."""
    rows = connection.execute(
        text("""
            SELECT task_id, step_order, batch FROM task_details
            WHERE task_id = :task AND step_order = :step + 1
                AND status = 'PENDING' AND ready_at IS NOT NULL AND published_at IS NULL
        """),
        _key(ref),
    )
    return [StepRef(*row) for row in rows]


def unsent(connection: Connection, *, older_than_seconds: float, limit: int) -> list[tuple[StepRef, str, str]]:
    """Messages that should have been sent by now, with their task's type and step's name, oldest first."""
    rows = connection.execute(
        text("""
            SELECT step.task_id, step.step_order, step.batch, task.type, step.step_name
            FROM task_details AS step JOIN tasks AS task ON task.id = step.task_id
            WHERE step.status = 'PENDING' AND step.ready_at IS NOT NULL AND step.published_at IS NULL
                AND greatest(step.ready_at, step.not_before) < now() - :age * interval '1 second'
                AND task.status = 'RUNNING'
            ORDER BY step.ready_at LIMIT :limit
        """),
        {"age": older_than_seconds, "limit": limit},
    )
    return [(StepRef(row.task_id, row.step_order, row.batch), row.type, row.step_name) for row in rows]


def mark_published(connection: Connection, refs: Iterable[StepRef]) -> None:
    """RabbitMQ has these messages. Steps that are already at work need no mark."""
    connection.execute(
        text("""
            UPDATE task_details AS step SET published_at = now()
            FROM unnest(:tasks ::text[], :steps ::int[], :batches ::int[]) AS given (task_id, step_order, batch)
            WHERE (step.task_id, step.step_order, step.batch) = (given.task_id, given.step_order, given.batch)
                AND step.status = 'PENDING' AND step.published_at IS NULL
        """),
        _columns(refs),
    )


def _columns(refs: Iterable[StepRef]) -> dict[str, Any]:
    refs = list(refs)
    return {
        "tasks": [ref.task_id for ref in refs],
        "steps": [ref.step_order for ref in refs],
        "batches": [ref.batch for ref in refs],
    }


def _key(ref: StepRef) -> dict[str, Any]:
    return {"task": ref.task_id, "step": ref.step_order, "batch": ref.batch}


def _json(value: Mapping[str, Any]) -> str:
    # Postgres' jsonb has no NUL character.
    return msgspec.json.encode(value).decode().replace("\\u0000", "")


def _bytes(value: memoryview | bytes | None) -> bytes | None:
    return None if value is None else bytes(value)
