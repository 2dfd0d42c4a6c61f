"""Each knowledge base has its turn: which messages are to go out, and which wait for others of theirs to be done.

A lane is one step's runs for one knowledge base. A few of them are *admitted*: their messages may be on their way. The
others wait in line, in Postgres, where they cost nothing and nobody else waits behind them: a queue of RabbitMQ holds
a few messages of each lane, however many documents one of them was given at once. Whoever ends a run admits the next.

All take an open transaction, and wait for nobody: a row that is in other hands is passed over, and met again by the
relay. The number of those that are admitted is therefore not exact, and need not be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from common.steps import StepRef, key
from common.workers import SILENT_SECONDS

Lane = tuple[str, str]  # a step's name, a knowledge base's id

# A message that waits on the ladder comes by itself; so long after its time it is taken for lost.
_LADDER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Due:
    """A run whose message is to be sent, and the name of its task's pipeline."""

    ref: StepRef
    pipeline: str


def of(refs: Iterable[StepRef]) -> set[Lane]:
    return {(ref.step_name, ref.lane) for ref in refs}


def admit(connection: Connection, lanes: Iterable[Lane], *, at_least: int) -> list[Due]:
    """Let the next runs of these lanes in, as many as have room: `at_least` so many of a lane may be on their way, and
    twice as many as the workers that are alive have threads for the step, so that none of them runs dry."""
    wanted = sorted(lanes)
    if not wanted:
        return []
    rows = connection.execute(
        _ADMIT,
        {
            "steps": [step_name for step_name, _ in wanted],
            "lanes": [lane for _, lane in wanted],
            "least": at_least,
            "silent": SILENT_SECONDS,
            "ladder": _LADDER_SECONDS,
        },
    )
    return [Due(StepRef(*row[:5]), row.type) for row in rows]


_ADMIT = text("""
    WITH room AS MATERIALIZED (
        SELECT wanted.step_name, wanted.lane, greatest(0,
            greatest(:least, 2 * (
                SELECT coalesce(sum(threads), 0) FROM workers
                WHERE wanted.step_name = ANY(functions) AND seen_at > now() - :silent * interval '1 second'))
            - (SELECT count(*) FROM task_details AS admitted
               WHERE (admitted.step_name, admitted.lane) = (wanted.step_name, wanted.lane)
                   AND admitted.status IN ('PENDING', 'RUNNING') AND admitted.admitted_at IS NOT NULL)) AS places
        FROM unnest(:steps ::text[], :lanes ::text[]) AS wanted (step_name, lane)),
    next AS MATERIALIZED (
        SELECT line.* FROM room CROSS JOIN LATERAL (
            SELECT waiting.task_id, waiting.step_order, waiting.batch, task.type
            FROM task_details AS waiting JOIN tasks AS task ON task.id = waiting.task_id AND task.status = 'RUNNING'
            WHERE (waiting.step_name, waiting.lane) = (room.step_name, room.lane)
                AND waiting.status = 'PENDING' AND waiting.ready_at IS NOT NULL AND waiting.admitted_at IS NULL
                AND coalesce(waiting.not_before < now() - :ladder * interval '1 second', true)
            ORDER BY waiting.ready_at LIMIT room.places
            FOR NO KEY UPDATE OF waiting SKIP LOCKED) AS line)
    UPDATE task_details AS step SET admitted_at = now()
    FROM next WHERE (step.task_id, step.step_order, step.batch) = (next.task_id, next.step_order, next.batch)
    RETURNING step.task_id, step.step_order, step.step_name, step.batch, step.lane, next.type
""")


def waiting(connection: Connection, steps: Iterable[str]) -> list[Lane]:
    """The lanes of these steps in which somebody waits."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT step_name, lane FROM task_details
            WHERE status = 'PENDING' AND ready_at IS NOT NULL AND admitted_at IS NULL AND step_name = ANY(:steps)
        """),
        {"steps": list(steps)},
    )
    return [(row.step_name, row.lane) for row in rows]


def following(connection: Connection, ref: StepRef, *, at_least: int) -> list[Due]:
    """What is to be sent after a run that has ended, by whoever is told of it once more: its end may have been written
    down by one who died before they could send anything."""
    rows = connection.execute(
        text("""
            SELECT step.task_id, step_order, step_name, batch, lane, type, admitted_at FROM task_details AS step
                JOIN tasks AS task ON task.id = step.task_id
            WHERE step.task_id = :task AND step_order = :step + 1
                AND step.status = 'PENDING' AND ready_at IS NOT NULL AND published_at IS NULL
        """),
        key(ref),
    ).all()
    next_ones = [Due(StepRef(*row[:5]), row.type) for row in rows]
    admitted = [due for due, row in zip(next_ones, rows, strict=True) if row.admitted_at is not None]
    return admitted + admit(connection, of([ref, *(due.ref for due in next_ones)]), at_least=at_least)


def overdue(
    connection: Connection,
    *,
    steps: Iterable[str],
    empty: Iterable[str],
    unsent_seconds: float,
    vanished_seconds: float,
    lost_seconds: float,
    limit: int,
) -> list[Due]:
    """Runs of these steps whose message may not exist. They are taken as sent now.

    It was not sent within `unsent_seconds`; or its worker died, and in so long nobody has taken over; or it was sent,
    and nothing has come of it for `lost_seconds`, or, where RabbitMQ says that the step's queue is `empty`, for
    `vanished_seconds`: then it is at a worker that has much to do, or nowhere. As nobody can tell which, the pauses
    between two grow with the time that it has waited.
    """
    rows = connection.execute(
        _OVERDUE,
        {
            "steps": list(steps),
            "empty": list(empty),
            "unsent": unsent_seconds,
            "vanished": vanished_seconds,
            "lost": lost_seconds,
            "limit": limit,
        },
    )
    return [Due(StepRef(*row[:5]), row.type) for row in rows]


_OVERDUE = text("""
    UPDATE task_details AS step SET published_at = now()
    FROM tasks AS task
    WHERE task.id = step.task_id
        AND (step.task_id, step.step_order, step.batch) IN (
            SELECT due.task_id, step_order, batch
            FROM task_details AS due JOIN tasks AS running ON running.id = due.task_id
            WHERE running.status = 'RUNNING' AND step_name = ANY(:steps) AND admitted_at IS NOT NULL
                AND (due.status = 'PENDING'
                         AND CASE WHEN published_at IS NULL
                             THEN greatest(admitted_at, not_before) < now() - :unsent * interval '1 second'
                             ELSE now() - greatest(published_at, not_before) > CASE WHEN step_name = ANY(:empty)
                                 THEN greatest(:vanished * interval '1 second', (now() - ready_at) / 4)
                                 ELSE :lost * interval '1 second' END
                             END
                     OR due.status = 'RUNNING' AND owner IS NOT NULL
                         AND lease_until < now() - :unsent * interval '1 second'
                         AND (coalesce(published_at < lease_until, true)
                              OR published_at < now() - :lost * interval '1 second'))
            ORDER BY ready_at LIMIT :limit FOR UPDATE OF due SKIP LOCKED)
    RETURNING step.task_id, step.step_order, step.step_name, step.batch, step.lane, task.type
""")


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
