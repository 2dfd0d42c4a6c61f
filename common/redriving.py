"""Sending a dead letter again: its task goes on where it failed, or its message is put back on its queue. Once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from common import dead_letters, task_requests
from common.dead_letters import LETTERS, STATE
from common.errors import Conflict, NotFound
from common.status import Status
from common.steps import StepRef

# Puts a body back on the queue of this name; returns when it is safe there. `Conflict` if there is no such queue.
PutBack = Callable[[str, bytes], None]

DONE_ALREADY = frozenset({"REDRIVEN", "RESOLVED"})

_LETTER = text(f"""
    SELECT letter.queue, letter.code, letter.body, letter.size, letter.task_id, letter.step_name,
        {STATE} AS state, CASE WHEN step.task_id IS NOT NULL THEN task.status END AS task_status
    FROM {LETTERS} WHERE letter.id = :id
""")  # noqa: S608 - of constants


def redrive(
    connection: Connection, letter_id: str, *, user_id: str, put_back: PutBack
) -> tuple[Row[Any], Sequence[StepRef]]:
    """Send it again, unless it has been; returns the letter, and the messages to send after the commit.

    Raises `Conflict` with the reason for which it cannot be: one of DONE_ALREADY, or what refuses its task a retry.
    """
    letter = _find(connection, letter_id)
    ready = list[StepRef]()
    if letter.task_status == Status.FAILED:
        # The task's row is locked before the letter's, as where a step fails.
        try:
            ready = task_requests.retry(connection, letter.task_id)
        except Conflict as error:
            if error.code == "NOT_FAILED":  # any more: somebody was faster
                _demand_open(_find(connection, letter_id))
            raise
        # Its step was done, and a later one failed: that is another's to send again. Undone with the transaction.
        _demand_open(letter)
    else:
        # Until it is marked, nobody else sends it, nor does it open again.
        connection.execute(text("SELECT FROM dead_letters WHERE id = :id FOR UPDATE"), {"id": letter_id})
        letter = _find(connection, letter_id)
        _demand_open(letter)
        if letter.size > len(letter.body):
            raise Conflict(
                f"Of its {letter.size:,} bytes only the first {len(letter.body):,} were kept.", code="TOO_LARGE"
            )
        put_back(letter.queue, bytes(letter.body))
    dead_letters.mark_redriven(connection, letter_id, user_id)
    return letter, ready


def _find(connection: Connection, letter_id: str) -> Row[Any]:
    letter = connection.execute(_LETTER, {"id": letter_id}).one_or_none()
    if letter is None:
        raise NotFound(f"There is no dead letter {letter_id!r}.")
    return letter


def _demand_open(letter: Row[Any]) -> None:
    if letter.state == "redriven":
        raise Conflict("It has been sent again already.", code="REDRIVEN")
    if letter.state == "resolved":
        raise Conflict("It needs nobody any more: its step was done, tried again, or is not wanted.", code="RESOLVED")
