"""What the tasks of some time tell together: how many, how fast, how long each step, and why some failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, text


class Throughput(msgspec.Struct, kw_only=True, frozen=True):
    """Of uploads that were completed, over the whole time that is looked at."""

    documents: int
    bytes: int
    documents_per_hour: float
    bytes_per_hour: float


class StepStats(msgspec.Struct, kw_only=True, frozen=True):
    """`completed`, `p50_seconds` and `p95_seconds`: of tasks that ended in that time, from a step's beginning to its
    end. At this moment: runs that `queued` (due, nobody has begun them), wait for a retry (`put_off`), are `running`.
    """

    step_name: str
    completed: int = 0
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    queued: int = 0
    put_off: int = 0
    running: int = 0


class FailureReason(msgspec.Struct, kw_only=True, frozen=True):
    """`message`: of the latest of them."""

    code: str
    count: int
    message: str


class TaskStats(msgspec.Struct, kw_only=True, frozen=True):
    """`by_status` and `by_type`: of tasks that began or ended since, or that have not ended."""

    hours: float
    since: datetime
    total: int
    by_status: dict[str, int]
    by_type: dict[str, dict[str, int]]
    throughput: Throughput
    steps: list[StepStats]
    failures: list[FailureReason]


def read(connection: Connection, bases: Sequence[str] | None, *, hours: float, step_names: Sequence[str]) -> TaskStats:
    """Of the tasks of these knowledge bases; None: of all. `step_names`: in the order to be shown."""
    now: datetime = connection.execute(text("SELECT now()")).scalar_one()
    since = now - timedelta(hours=hours)
    values = {"bases": None if bases is None else list(bases), "since": since}
    by_type: dict[str, dict[str, int]] = {}
    by_status: dict[str, int] = {}
    for row in connection.execute(_COUNTS, values):
        by_type.setdefault(row.type, {})[row.status] = row.tasks
        by_status[row.status] = by_status.get(row.status, 0) + row.tasks
    done = connection.execute(_THROUGHPUT, values).one()
    return TaskStats(
        hours=hours,
        since=since,
        total=sum(by_status.values()),
        by_status=by_status,
        by_type=by_type,
        throughput=Throughput(
            documents=done.documents,
            bytes=done.bytes,
            documents_per_hour=round(done.documents / hours, 2),
            bytes_per_hour=round(done.bytes / hours, 2),
        ),
        steps=_steps(connection, values, step_names),
        failures=[FailureReason(**row) for row in connection.execute(_FAILURES, values).mappings()],
    )


def _steps(connection: Connection, values: dict[str, Any], step_names: Sequence[str]) -> list[StepStats]:
    found: dict[str, dict[str, Any]] = {name: {} for name in step_names}
    for statement in (_DURATIONS, _QUEUES):
        for row in connection.execute(statement, values).mappings():
            found.setdefault(row["step_name"], {}).update(row)
    return [StepStats(**{"step_name": name, **values}) for name, values in found.items()]


_VISIBLE = "(CAST(:bases AS text[]) IS NULL OR task.knowledge_base_id = ANY(:bases))"

_COUNTS = text(f"""
    SELECT task.type, task.status, count(*) AS tasks FROM tasks AS task
    WHERE {_VISIBLE} AND (task.created_at >= :since OR task.completed_at >= :since OR task.completed_at IS NULL)
    GROUP BY task.type, task.status ORDER BY task.type, task.status
""")  # noqa: S608 - of the constant above, as are the others

_THROUGHPUT = text(f"""
    SELECT count(*) AS documents, coalesce(sum(version.file_size), 0) ::bigint AS bytes
    FROM tasks AS task
        LEFT JOIN document_versions AS version
            ON (version.document_id, version.version) = (task.document_id, task.version)
    WHERE {_VISIBLE} AND task.completed_at >= :since AND task.status = 'COMPLETED' AND task.type = 'DOCUMENT_UPLOAD'
""")  # noqa: S608

_DURATIONS = text(f"""
    SELECT step_name, count(*) AS completed,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_seconds
    FROM (
        SELECT step.step_name, extract(epoch FROM step.completed_at - step.started_at) ::float AS seconds
        FROM tasks AS task JOIN task_details AS step ON step.task_id = task.id
        WHERE {_VISIBLE} AND task.completed_at >= :since AND step.batch = 0 AND step.status = 'COMPLETED'
    ) AS done
    GROUP BY step_name
""")  # noqa: S608

_QUEUES = text(f"""
    SELECT step.step_name,
        count(*) FILTER (WHERE step.status = 'PENDING' AND coalesce(step.not_before <= now(), true)) AS queued,
        count(*) FILTER (WHERE step.status = 'PENDING' AND step.not_before > now()) AS put_off,
        count(*) FILTER (WHERE step.status = 'RUNNING') AS running
    FROM task_details AS step JOIN tasks AS task ON task.id = step.task_id
    WHERE {_VISIBLE} AND (step.status = 'PENDING' AND step.ready_at IS NOT NULL
                          OR step.status = 'RUNNING' AND step.owner IS NOT NULL)
    GROUP BY step.step_name
""")  # noqa: S608

_FAILURES = text(f"""
    SELECT coalesce(task.error_code, 'UNKNOWN') AS code, count(*) AS count,
        coalesce((array_agg(task.error_message ORDER BY task.completed_at DESC))[1], '') AS message
    FROM tasks AS task
    WHERE {_VISIBLE} AND task.completed_at >= :since AND task.status = 'FAILED'
    GROUP BY 1 ORDER BY 2 DESC, 1
""")  # noqa: S608
