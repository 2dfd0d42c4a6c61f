"""Dead letters: the messages that were given up on, kept until somebody sends them again or forgets them.

The same message that dies again is one letter, counted. One that was sent again and died again is open again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from common import task_requests
from common.untrusted import storable

# Four times what the webhook lets in, and 10,000 times a step's message: of more, nothing here could be made.
MAX_BODY_BYTES = 4 << 20
MAX_REASON_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Letter:
    """`queue`: where it would have been worked off. `died_at` None: now. The last three: of a step's message."""

    queue: str
    body: bytes
    code: str
    reason: str
    died_at: datetime | None = None
    task_id: str | None = None
    step_name: str | None = None
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters; None does not narrow. `state`: open, redriven or resolved."""

    queue: str | None = None
    code: str | None = None
    task_id: str | None = None
    state: str | None = None
    ids: Sequence[str] | None = None

    @property
    def values(self) -> Mapping[str, object]:
        return {
            "queue": self.queue,
            "code": self.code,
            "task": self.task_id,
            "state": self.state,
            "ids": None if self.ids is None else list(self.ids),
        }


# A letter with the step that it would have run, if it was a step's message, and its task.
LETTERS = """
    dead_letters AS letter
        LEFT JOIN tasks AS task ON task.id = letter.task_id
        LEFT JOIN task_details AS step
            ON (step.task_id, step.step_name, step.batch) = (letter.task_id, letter.step_name, letter.batch)
"""
# What is to be done about it. Resolved is what needs nobody: the step was done after all, or tried again since the
# letter died, or its task has no point any more.
STATE = f"""
    CASE
        WHEN task.status IN ('COMPLETED', 'CANCELLED') OR step.status IN ('COMPLETED', 'SKIPPED') THEN 'resolved'
        WHEN task.status = 'FAILED' AND ({task_requests.REFUSAL}) IS NOT NULL THEN 'resolved'
        WHEN letter.redriven_at IS NOT NULL THEN 'redriven'
        WHEN step.ready_at > letter.last_died_at THEN 'resolved'
        ELSE 'open'
    END
"""
FITS = f"""
    (CAST(:queue AS text) IS NULL OR letter.queue = :queue)
    AND (CAST(:code AS text) IS NULL OR letter.code = :code)
    AND (CAST(:task AS text) IS NULL OR letter.task_id = :task)
    AND (CAST(:ids AS text[]) IS NULL OR letter.id = ANY(:ids))
    AND (CAST(:state AS text) IS NULL OR :state = {STATE})
"""


def id_of(queue: str, body: bytes) -> str:
    return hashlib.sha256(queue.encode() + b"\0" + body).hexdigest()[:32]


def keep(connection: Connection, letter: Letter) -> str:
    """Write the letter down, or count it if it is known; returns its id. The same death told twice changes nothing."""
    queue = storable(letter.queue)
    letter_id = id_of(queue, letter.body)
    connection.execute(
        text("""
            INSERT INTO dead_letters AS known
                (id, queue, code, reason, body, size, task_id, step_name, batch, died_at, last_died_at)
            SELECT :id, :queue, :code, :reason, :body, :size, :task, :step, :batch, died.at, died.at
            FROM (SELECT coalesce(CAST(:died_at AS timestamptz), now()) AS at) AS died
            ON CONFLICT (id) DO UPDATE
            SET times = known.times + 1, code = excluded.code, reason = excluded.reason,
                last_died_at = greatest(known.last_died_at, excluded.last_died_at),
                redriven_at = NULL, redriven_by = NULL
            -- Clocks differ, so that a later death may seem earlier; no two have the same microsecond.
            WHERE known.last_died_at <> excluded.last_died_at
        """),
        {
            "id": letter_id,
            "queue": queue,
            "code": storable(letter.code),
            "reason": storable(letter.reason)[:MAX_REASON_CHARACTERS],
            "body": letter.body[:MAX_BODY_BYTES],
            "size": len(letter.body),
            "task": storable(letter.task_id),
            "step": storable(letter.step_name),
            "batch": letter.batch,
            "died_at": letter.died_at,
        },
    )
    return letter_id


def mark_redriven(connection: Connection, letter_id: str, user_id: str) -> None:
    connection.execute(
        text("UPDATE dead_letters SET redriven_at = now(), redriven_by = :user WHERE id = :id"),
        {"id": letter_id, "user": user_id},
    )


def forget(connection: Connection, letter_id: str) -> bool:
    """Give the message up for good. False: there is no such letter."""
    forgotten = connection.execute(text("DELETE FROM dead_letters WHERE id = :id"), {"id": letter_id})
    return bool(forgotten.rowcount)


def clear(connection: Connection, *, days: float, limit: int) -> int:
    """Forget letters that nobody has needed for so long: redriven or resolved ones. Returns how many."""
    cleared = connection.execute(
        text(f"""
            DELETE FROM dead_letters WHERE id IN (
                SELECT letter.id FROM {LETTERS}
                WHERE greatest(letter.last_died_at, letter.redriven_at) < now() - :days * interval '1 day'
                    AND {STATE} <> 'open'
                ORDER BY letter.died_at LIMIT :limit)
        """),  # noqa: S608 - of the constants above
        {"days": days, "limit": limit},
    )
    return cleared.rowcount


def count_open(connection: Connection, wanted: Wanted = Wanted()) -> dict[str, int]:
    """How many of these letters are open, by queue."""
    rows = connection.execute(
        text(f"SELECT letter.queue, count(*) AS letters FROM {LETTERS} WHERE {FITS} GROUP BY letter.queue"),  # noqa: S608
        {**wanted.values, "state": "open"},
    )
    return {row.queue: row.letters for row in rows}
