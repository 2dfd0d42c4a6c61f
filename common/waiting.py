"""Why a task does not move, in words: facts read for many tasks by one statement, and a table of what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from common.errors import Unavailable
from common.workers import INGRESS, SILENT_SECONDS

# Beyond this nobody cares how many they are, and they are not counted.
_COUNTED = 1000
# Workers send at once and mark it within a second or two; the scheduler's relay sends what they could not, twice
# `outbox_seconds` later at the latest.
_UNSENT_SECONDS = 15
# Between two runs a message is on its way for some milliseconds, which nobody needs to read about.
_ON_ITS_WAY_SECONDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A task that has not ended, and that run of its current step which is furthest from standing still, if one is due.

    `workers` and `connected`: who is alive and runs the step, or takes notifications in if none is due; and whether
    any of them has RabbitMQ. `ahead`: runs of the step for the same base that came earlier. `seen_at`: of the worker
    that holds it.
    `arrived`: the object is there. `file_size` in bytes, `expires_at`: until when the upload is waited for.
    """

    now: datetime
    arrived: bool
    workers: int
    connected: bool
    expires_at: datetime | None = None
    file_size: int | None = None
    step_name: str | None = None
    status: str | None = None
    attempt: int = 0
    ready_at: datetime | None = None
    not_before: datetime | None = None
    admitted_at: datetime | None = None
    published_at: datetime | None = None
    lease_until: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    ahead: int = 0
    seen_at: datetime | None = None

    @property
    def due_at(self) -> datetime:
        """Since when it could run."""
        return max(moment for moment in (self.ready_at, self.not_before) if moment)

    @property
    def is_held(self) -> bool:
        """A worker that is alive runs it."""
        return self.status == "RUNNING" and self.lease_until is not None and self.lease_until >= self.now


@dataclass(frozen=True, slots=True)
class Wait:
    """`foreseeable`: it ends by itself, as far as anybody can tell."""

    sentence: str
    foreseeable: bool


def read(connection: Connection, task_ids: Sequence[str]) -> dict[str, Facts]:
    """The facts of these tasks, which have not ended, by id."""
    rows = connection.execute(
        _FACTS,
        {"ids": list(task_ids), "ingress": INGRESS, "silent": SILENT_SECONDS, "counted": _COUNTED + 1},
    ).mappings()
    return {row["task_id"]: Facts(**{name: row[name] for name in row if name != "task_id"}) for row in rows}


_FACTS = text("""
    WITH run AS (
        SELECT DISTINCT ON (task_id) task_id, step_name, lane, status, attempt, ready_at, not_before, admitted_at,
            published_at, lease_until, error_code, error_message, split_part(owner, '/', 1) AS worker_id
        FROM task_details
        WHERE task_id = ANY(:ids) AND status IN ('PENDING', 'RUNNING') AND ready_at IS NOT NULL
        ORDER BY task_id, (status = 'RUNNING' AND lease_until >= now()) DESC, status, not_before NULLS FIRST, batch)
    SELECT task.id AS task_id, now() AS now, task.status <> 'PENDING' AS arrived, alive.workers, alive.connected,
        version.expires_at, version.file_size, run.step_name, run.status, coalesce(run.attempt, 0) AS attempt,
        run.ready_at, run.not_before, run.admitted_at, run.published_at, run.lease_until,
        run.error_code, run.error_message, holder.seen_at,
        CASE WHEN run.status = 'PENDING' THEN (
            SELECT count(*) FROM (
                SELECT FROM task_details AS other
                WHERE (other.step_name, other.lane) = (run.step_name, run.lane)
                    AND other.status = 'PENDING' AND other.ready_at IS NOT NULL
                    AND other.ready_at < greatest(run.ready_at, run.not_before)
                    AND coalesce(other.not_before <= now(), true) AND other.task_id <> run.task_id
                LIMIT :counted) AS earlier)
        ELSE 0 END AS ahead
    FROM tasks AS task
        LEFT JOIN document_versions AS version
            ON (version.document_id, version.version) = (task.document_id, task.version)
        LEFT JOIN run ON run.task_id = task.id
        LEFT JOIN workers AS holder ON holder.id = run.worker_id
        CROSS JOIN LATERAL (
            SELECT count(*) AS workers, coalesce(bool_or(connected), false) AS connected FROM workers
            WHERE coalesce(run.step_name, :ingress) = ANY(functions)
                AND seen_at > now() - :silent * interval '1 second') AS alive
    WHERE task.id = ANY(:ids)
""")


def why(facts: Facts) -> Wait | None:
    """Why the task does not move; None: it does, or has ended meanwhile."""
    if facts.is_held or (facts.arrived and facts.step_name is None):
        return None
    for reason, foreseeable in _REASONS:
        if sentence := reason(facts):
            return Wait(sentence, foreseeable)
    return None


def _upload(facts: Facts) -> str | None:
    if facts.arrived:
        return None
    until = f" until {_told(facts.expires_at)}" if facts.expires_at else ""
    nobody = "" if facts.workers else " No worker takes notifications in at the moment."
    return f"Waiting for the upload{until}.{nobody}"


def _silent_worker(facts: Facts) -> str | None:
    if facts.status != "RUNNING":
        return None
    since = facts.seen_at or facts.lease_until
    silent = f" since {_told(since)}" if since else ""
    then = "Another takes it over." if facts.workers else f"No other worker runs {facts.step_name} at the moment."
    return f"{facts.step_name} is held by a worker that is silent{silent}. {then}"


def _outage(facts: Facts) -> str | None:
    if not _is_put_off(facts) or facts.error_code != Unavailable.code:
        return None
    return f"{facts.error_message} {facts.step_name} tries again at {_told(facts.not_before)}."


def _retry(facts: Facts) -> str | None:
    if not _is_put_off(facts):
        return None
    because = f" because: {facts.error_message}" if facts.error_message else "."
    return (
        f"Waiting for a retry of {facts.step_name} at {_told(facts.not_before)} (attempt {facts.attempt + 1}){because}"
    )


def _no_worker(facts: Facts) -> str | None:
    return None if facts.workers else f"No worker runs {facts.step_name} at the moment."


def _no_connection(facts: Facts) -> str | None:
    return None if facts.connected else f"The workers that run {facts.step_name} have no connection to RabbitMQ."


def _unsent(facts: Facts) -> str | None:
    if facts.admitted_at is None and facts.ahead:  # it is not its turn
        return None
    if facts.published_at or facts.now - facts.due_at < timedelta(seconds=_UNSENT_SECONDS):
        return None
    return f"The message for {facts.step_name} is not sent yet: RabbitMQ or the scheduler is away."


def _queued(facts: Facts) -> str | None:
    if not facts.ahead:
        return None
    several = "more than 1,000" if facts.ahead > _COUNTED else f"{facts.ahead:,}"
    runs = "run" if facts.ahead == 1 else "runs"
    return f"Queued behind {several} other {runs} of {facts.step_name} for this knowledge base."


def _next(facts: Facts) -> str | None:
    if not facts.published_at or facts.now - facts.due_at < timedelta(seconds=_ON_ITS_WAY_SECONDS):
        return None
    return f"Next in the queue of {facts.step_name}: the workers that run it are busy."


# The first that applies. A reason after `_silent_worker` may count on a run that is due and that nobody holds.
_REASONS: tuple[tuple[Callable[[Facts], str | None], bool], ...] = (
    (_upload, False),
    (_silent_worker, False),
    (_outage, False),
    (_retry, True),
    (_no_worker, False),
    (_no_connection, False),
    (_unsent, False),
    (_queued, True),
    (_next, True),
)


def _is_put_off(facts: Facts) -> bool:
    return facts.not_before is not None and facts.not_before > facts.now


def _told(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else "an unknown time"
