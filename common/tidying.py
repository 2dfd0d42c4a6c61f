"""What ended tasks leave behind, and when nobody needs it any more. Who clears it away is functions/schedule/tidy.py.

All take an open transaction. A task is cleared under the lock of its row, so that a retry waits and is then refused,
and a run that wrote too late says so after the clearing and not in the midst of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from common.contents import READ_STEPS


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Of an ended task. `ran`: whether any of its steps could begin; if none did, there is nothing."""

    task_id: str
    document_id: str
    version: int
    ran: bool


@dataclass(frozen=True, slots=True)
class Trimmable:
    """A task whose document shows. `kept`: the keys of its artifacts that are still read."""

    task_id: str
    kept: frozenset[str]


# Cancelled or replaced: nobody asks for it again. Failed and not replaced: it may be retried for a while; the task of
# a removal for ever, since it leaves nothing but what it was to remove.
_UNTIDY = """
    task.tidied_at IS NULL AND task.completed_at < now() - :grace * interval '1 second'
    AND (task.status = 'CANCELLED'
         OR task.status = 'FAILED' AND task.type <> 'DOCUMENT_DELETE'
             AND task.completed_at < now() - :keep_failed * interval '1 second'
         OR task.status IN ('COMPLETED', 'FAILED') AND EXISTS (
             SELECT FROM tasks AS newer
             WHERE newer.document_id = task.document_id AND newer.status = 'COMPLETED'
                 AND (newer.version > task.version OR newer.type = 'DOCUMENT_DELETE')))
"""
# Once other bytes are under the key, its pin is the only copy of what search shows: it stays until they show.
_UNTRIMMED = """
    task.tidied_at IS NULL AND task.trimmed_at IS NULL AND task.completed_at < now() - :grace * interval '1 second'
    AND task.status = 'COMPLETED' AND task.type <> 'DOCUMENT_DELETE'
    AND NOT EXISTS (
        SELECT FROM document_versions AS newer
        WHERE newer.document_id = task.document_id AND newer.version > task.version AND newer.etag IS NOT NULL)
"""


def untidy_tasks(
    connection: Connection, *, grace_seconds: float, keep_failed_seconds: float, limit: int | None
) -> list[str]:
    """Tasks whose leftovers are due, the oldest first. `grace_seconds`: so long a run without its lease may write."""
    return list(
        connection.execute(
            text(f"SELECT task.id FROM tasks AS task WHERE {_UNTIDY} ORDER BY task.completed_at LIMIT :limit"),  # noqa: S608 - of constants in this file
            {"grace": grace_seconds, "keep_failed": keep_failed_seconds, "limit": limit},
        ).scalars()
    )


def hold(connection: Connection, task_id: str, *, grace_seconds: float, keep_failed_seconds: float) -> Leftovers | None:
    """The task's leftovers, if they are still due; until the transaction ends nobody else changes that."""
    row = connection.execute(
        text(f"""
            SELECT task.id, task.document_id, task.version,
                EXISTS (SELECT FROM task_details WHERE task_id = task.id AND ready_at IS NOT NULL) AS ran
            FROM tasks AS task WHERE task.id = :task AND {_UNTIDY}
            FOR NO KEY UPDATE OF task SKIP LOCKED
        """),  # noqa: S608 - of constants in this file
        {"task": task_id, "grace": grace_seconds, "keep_failed": keep_failed_seconds},
    ).one_or_none()
    return None if row is None else Leftovers(*row)


def tidied(connection: Connection, task_id: str) -> None:
    """Its artifacts and vectors are gone: so are those in its rows, and what they say of the store."""
    _forget(connection, task_id, keep=())
    connection.execute(text("UPDATE tasks SET tidied_at = now() WHERE id = :task"), {"task": task_id})


def untidy(connection: Connection, task_id: str) -> None:
    """A run that had lost the task's step may have written after it was cleared: it is cleared once more.

    It waits for a clearing that is under way. A task that has not ended will be cleared later anyhow.
    """
    # Whether it is tidied now is not asked: only so does this wait for who is about to say so.
    connection.execute(
        text("UPDATE tasks SET tidied_at = NULL, trimmed_at = NULL WHERE id = :task AND completed_at IS NOT NULL"),
        {"task": task_id},
    )


def untrimmed_tasks(connection: Connection, *, trim_seconds: float, limit: int | None) -> list[str]:
    """Tasks of which only what is still read is to stay, the oldest first."""
    return list(
        connection.execute(
            text(f"SELECT task.id FROM tasks AS task WHERE {_UNTRIMMED} ORDER BY task.completed_at LIMIT :limit"),  # noqa: S608 - of constants in this file
            {"grace": trim_seconds, "limit": limit},
        ).scalars()
    )


def hold_to_trim(connection: Connection, task_id: str, *, trim_seconds: float) -> Trimmable | None:
    """What stays of the task, if it is still to be trimmed; see `hold`."""
    held = connection.execute(
        text(f"""
            SELECT FROM tasks AS task WHERE task.id = :task AND {_UNTRIMMED} FOR NO KEY UPDATE OF task SKIP LOCKED
        """),
        {"task": task_id, "grace": trim_seconds},
    ).one_or_none()
    if held is None:
        return None
    return Trimmable(task_id, kept(connection, task_id))


def kept(connection: Connection, task_id: str) -> frozenset[str]:
    """The keys of those of the task's artifacts that are read as long as its version is there."""
    keys = connection.execute(
        text("""
            SELECT output_key FROM task_details
            WHERE task_id = :task AND step_name = ANY(:read) AND output_key IS NOT NULL
        """),
        {"task": task_id, "read": list(READ_STEPS)},
    ).scalars()
    return frozenset(keys)


def trimmed(connection: Connection, task_id: str) -> None:
    """What only its own steps needed is gone from the store: so it is from its rows."""
    _forget(connection, task_id, keep=READ_STEPS)
    connection.execute(text("UPDATE tasks SET trimmed_at = now() WHERE id = :task"), {"task": task_id})


def _forget(connection: Connection, task_id: str, *, keep: tuple[str, ...]) -> None:
    values: dict[str, Any] = {"task": task_id, "keep": list(keep)}
    connection.execute(
        text("""
            UPDATE task_details SET output = NULL, output_key = NULL, output_cuts = NULL
            WHERE task_id = :task AND step_name <> ALL(:keep ::text[])
                AND (output IS NOT NULL OR output_key IS NOT NULL OR output_cuts IS NOT NULL)
        """),
        values,
    )
