"""One run of a step, from claim to end: each change a guarded UPDATE, so that whoever comes late changes nothing.

The protocol that uses them is router/runtime.py. All take an open transaction. Where both a task and its steps
change, the task's row is locked first, so that finishing and cancelling never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, text

from common.artifacts import Artifact, Written
from common.chunking import Chunking
from common.context import Target
from common.untrusted import storable


@dataclass(frozen=True, slots=True, order=True)
class StepRef:
    """The name of one run to be made, and all that a message carries. `batch` 0: the step is not shared out.

    `lane`: the knowledge base whose turn it is with this run; see common/lanes.py.
    """

    task_id: str
    step_order: int
    step_name: str
    batch: int = 0
    lane: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """A step that is ours until its lease ends. `following`: the name of the task's next step, None after the last."""

    ref: StepRef
    owner: str
    attempt: int
    target: Target
    inputs: tuple[Artifact, ...]
    following: str | None


@dataclass(frozen=True, slots=True)
class Busy:
    """Another worker holds the step, or its retry is not yet due: come back in so many seconds."""

    seconds: float


class Ended:
    """The step is completed, failed, cancelled or unknown: nothing to do but to hand on what it left."""


def claim(connection: Connection, ref: StepRef, *, owner: str, lease_seconds: float) -> Claim | Busy | Ended:
    """Take the step, if it is ready and nobody live holds it."""
    row = connection.execute(
        text("""
            UPDATE task_details AS step
            SET status = 'RUNNING', owner = :owner, lease_until = now() + :lease * interval '1 second',
                attempt = attempt + 1, started_at = coalesce(step.started_at, now()), not_before = NULL,
                admitted_at = coalesce(step.admitted_at, now())
            FROM tasks AS task
                -- A removal's own rows may be gone already when it is run again.
                LEFT JOIN documents AS document ON document.id = task.document_id
                LEFT JOIN document_versions AS version
                    ON (version.document_id, version.version) = (task.document_id, task.version)
                LEFT JOIN knowledge_bases AS base ON base.id = document.knowledge_base_id
            WHERE (step.task_id, step.step_order, step.batch) = (:task, :step, :batch) AND step.step_name = :name
                AND task.id = step.task_id AND task.status = 'RUNNING' AND step.ready_at IS NOT NULL
                AND (step.status = 'PENDING' AND coalesce(step.not_before <= now(), true)
                     OR step.status = 'RUNNING' AND step.lease_until < now())
            RETURNING step.attempt, step.lane, step.input_first, step.input_last,
                (SELECT step_name FROM task_details AS next
                 WHERE (next.task_id, next.step_order, next.batch) = (:task, :step + 1, 0)) AS following,
                task.document_id, task.version, document.knowledge_base_id, document.name,
                document.bucket_name, document.object_key, version.etag, version.store_version_id,
                base.chunk_size, base.chunk_overlap, base.chunk_by
        """),
        key(ref) | {"owner": owner, "lease": lease_seconds},
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
        chunking=Chunking(row.chunk_size, row.chunk_overlap or 0, row.chunk_by or "heading")
        if row.chunk_size
        else None,
    )
    ref = replace(ref, lane=row.lane)
    return Claim(ref, owner, row.attempt, target, _inputs(connection, ref, row), row.following)


def _refusal(connection: Connection, ref: StepRef) -> Busy | Ended:
    seconds = connection.execute(
        text("""
            SELECT extract(epoch FROM coalesce(step.lease_until, step.not_before, now()) - now())
            FROM task_details AS step JOIN tasks AS task ON task.id = step.task_id
            WHERE (step.task_id, step.step_order, step.batch) = (:task, :step, :batch)
                AND task.status = 'RUNNING' AND step.ready_at IS NOT NULL AND step.status IN ('PENDING', 'RUNNING')
        """),
        key(ref),
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
    claim: Claim,
    *,
    share_out: bool,
    details: Mapping[str, Any],
    written: Written | None = None,
) -> list[StepRef] | None:
    """The step is COMPLETED and what follows it is ready, which is returned.

    What follows is what the task's rows say: steps added to the table since it began are not for it. `share_out`: that
    step runs in batches. None: the lease was lost, or the task ended meanwhile, and nothing was written down.
    """
    ref = claim.ref
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
        key(ref)
        | {
            "owner": claim.owner,
            "details": as_json(details),
            "inline": output.inline,
            "key": output.key,
            "cuts": list(written.cuts) if written else None,
        },
    )
    if not finished.rowcount:
        return None
    if ref.batch and not _was_last_batch(connection, ref, details):
        return []
    if claim.following is None:
        _complete(connection, ref.task_id)
        return []
    if share_out:
        return _fan_out(connection, ref.task_id, ref.step_order + 1)
    return make_ready(connection, ref.task_id, ref.step_order + 1)


def _was_last_batch(connection: Connection, ref: StepRef, details: Mapping[str, Any]) -> bool:
    """Count the batch on its step's row, and add up the numbers it notes; the one that completes the count completes
    the step."""
    done = connection.execute(
        text("""
            UPDATE task_details AS step
            SET batches_done = batches_done + 1,
                progress = greatest(progress, 100.0 * (batches_done + 1) / batches),
                status = CASE WHEN batches_done + 1 = batches THEN 'COMPLETED' ELSE status END,
                completed_at = CASE WHEN batches_done + 1 = batches THEN now() END,
                details = details || jsonb_build_object('batches', batches, 'batches_done', batches_done + 1) || (
                    SELECT coalesce(jsonb_object_agg(noted.key,
                        coalesce(CAST(step.details ->> noted.key AS numeric), 0) + CAST(noted.value AS numeric)), '{}')
                    FROM jsonb_each(CAST(:details AS jsonb)) AS noted WHERE jsonb_typeof(noted.value) = 'number')
            WHERE (task_id, step_order, batch) = (:task, :step, 0)
            RETURNING batches_done = batches AS all_done
        """),
        key(ref) | {"details": as_json(details)},
    ).scalar_one()
    return bool(done)


def _complete(connection: Connection, task_id: str) -> None:
    connection.execute(
        text("UPDATE tasks SET status = 'COMPLETED', completed_at = now() WHERE id = :task"), {"task": task_id}
    )


def make_ready(connection: Connection, task_id: str, step_order: int) -> list[StepRef]:
    """The step's input is there: from now on it waits in its lane."""
    row = connection.execute(
        text("""
            UPDATE task_details SET ready_at = now() WHERE (task_id, step_order, batch) = (:task, :step, 0)
            RETURNING task_id, step_order, step_name, batch, lane
        """),
        {"task": task_id, "step": step_order},
    ).one()
    return [StepRef(*row)]


def _fan_out(connection: Connection, task_id: str, step_order: int) -> list[StepRef]:
    """One row for each share of what the nearest earlier step made."""
    batches = connection.execute(
        text("""
            WITH made AS (
                SELECT output_cuts FROM task_details
                WHERE task_id = :task AND step_order < :step AND output_cuts IS NOT NULL
                ORDER BY step_order DESC LIMIT 1)
            INSERT INTO task_details (task_id, step_order, batch, step_name, lane, ready_at, input_first, input_last)
            SELECT task_id, step_order, share.batch, step_name, lane, now(),
                lag(share.last, 1, 0) OVER (ORDER BY share.batch), share.last
            FROM task_details, made, unnest(made.output_cuts) WITH ORDINALITY AS share (last, batch)
            WHERE (task_id, step_order, task_details.batch) = (:task, :step, 0)
            RETURNING task_id, step_order, step_name, batch, lane
        """),
        {"task": task_id, "step": step_order},
    )
    refs = [StepRef(*row) for row in batches]
    connection.execute(
        text("""
            UPDATE task_details SET status = 'RUNNING', started_at = now(), batches = :batches, batches_done = 0
            WHERE (task_id, step_order, batch) = (:task, :step, 0)
        """),
        {"task": task_id, "step": step_order, "batches": len(refs)},
    )
    return refs


def fail(connection: Connection, claim: Claim, *, code: str, message: str, details: Mapping[str, Any]) -> bool:
    """The step and its task are FAILED, for the reason given. False: it was no longer ours."""
    ref = claim.ref
    reason = {"code": code, "message": storable(message), "details": as_json(details)}
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
        key(ref) | reason | {"owner": claim.owner},
    )
    if not failed.rowcount:
        return False
    connection.execute(
        text("""
            UPDATE tasks SET status = 'FAILED', completed_at = now(), error_code = :code, error_message = :message
            WHERE id = :task
        """),
        key(ref) | reason,
    )
    if ref.batch:  # a batch fails its step, and what others were to do of it
        connection.execute(
            text("""
                UPDATE task_details SET status = 'CANCELLED', completed_at = now(), owner = NULL, lease_until = NULL
                WHERE task_id = :task AND step_order = :step AND batch > 0 AND status IN ('PENDING', 'RUNNING')
            """),
            key(ref),
        )
        connection.execute(
            text("""
                UPDATE task_details
                SET status = 'FAILED', completed_at = now(), error_code = :code, error_message = :message
                WHERE (task_id, step_order, batch) = (:task, :step, 0)
            """),
            key(ref) | reason,
        )
    return True


def retry_later(
    connection: Connection, claim: Claim, *, seconds: float, code: str, message: str, counted: bool = True
) -> bool:
    """The step waits for another run; its reason shows meanwhile. False: it was no longer ours.

    `counted`: whether this run was one of the attempts that a step has. If so, others of its lane may go on; if not,
    they would meet the same.
    """
    put_back = connection.execute(
        text("""
            UPDATE task_details
            SET status = 'PENDING', owner = NULL, lease_until = NULL, published_at = NULL,
                attempt = attempt - :uncounted, admitted_at = CASE WHEN :uncounted = 1 THEN admitted_at END,
                not_before = now() + :seconds * interval '1 second',
                error_code = :code, error_message = :message
            WHERE (task_id, step_order, batch) = (:task, :step, :batch) AND status = 'RUNNING' AND owner = :owner
        """),
        key(claim.ref)
        | {
            "owner": claim.owner,
            "seconds": seconds,
            "code": code,
            "message": storable(message),
            "uncounted": 0 if counted else 1,
        },
    )
    return bool(put_back.rowcount)


def release(connection: Connection, claim: Claim) -> None:
    """Give the step back as if it had not been claimed: this worker is going away."""
    connection.execute(
        text("""
            UPDATE task_details SET status = 'PENDING', owner = NULL, lease_until = NULL, attempt = attempt - 1
            WHERE (task_id, step_order, batch) = (:task, :step, :batch) AND status = 'RUNNING' AND owner = :owner
        """),
        key(claim.ref) | {"owner": claim.owner},
    )


def renew(connection: Connection, claims: Iterable[Claim], *, lease_seconds: float) -> set[str]:
    """Prolong the leases of these claims; returns the owners of those that still hold.

    It waits for nobody: who ends a whole task locks the same rows, in another order. What it passes over for that has
    time left until it is renewed again.
    """
    claims = list(claims)
    connection.execute(
        text("""
            UPDATE task_details SET lease_until = now() + :lease * interval '1 second'
            WHERE (task_id, step_order, batch) IN (
                SELECT step.task_id, step.step_order, step.batch
                FROM task_details AS step JOIN tasks AS task ON task.id = step.task_id AND task.status = 'RUNNING'
                WHERE step.owner = ANY(:owners) AND step.status = 'RUNNING'
                FOR NO KEY UPDATE OF step SKIP LOCKED)
        """),
        {"owners": [claim.owner for claim in claims], "lease": lease_seconds},
    )
    return held(connection, claims)


def held(connection: Connection, claims: Iterable[Claim]) -> set[str]:
    """The owners of those claims that still hold: neither ended by others nor taken over. One look into an index."""
    rows = connection.execute(
        text("SELECT owner FROM task_details WHERE owner = ANY(:owners) AND status = 'RUNNING'"),
        {"owners": [claim.owner for claim in claims]},
    )
    return set(rows.scalars())


def set_progress(connection: Connection, claim: Claim, *, percent: float) -> None:
    """Progress never goes back. For a transaction of its own: see `renew`."""
    connection.execute(
        text("""
            UPDATE task_details SET progress = greatest(progress, :percent)
            WHERE (task_id, step_order, batch) = (:task, :step, :batch) AND status = 'RUNNING' AND owner = :owner
        """),
        key(claim.ref) | {"owner": claim.owner, "percent": percent},
    )


def key(ref: StepRef) -> dict[str, Any]:
    """A step's row as the parameters of a statement."""
    return {"task": ref.task_id, "step": ref.step_order, "name": ref.step_name, "batch": ref.batch}


def as_json(value: Mapping[str, Any]) -> str:
    """Details as Postgres keeps them."""
    return msgspec.json.encode(storable(value)).decode()


def _bytes(value: memoryview | bytes | None) -> bytes | None:
    return None if value is None else bytes(value)
