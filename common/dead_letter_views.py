"""What a dead letter tells people: what failed, why, since when, and with which input."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, RowMapping, text

from common import paging
from common.artifacts import prefix_of
from common.dead_letters import FITS, LETTERS, STATE, Wanted
from common.errors import Unavailable
from common.objects import ObjectStore
from common.untrusted import UNREADABLE, is_shallow

# All that reads JSON gets through so much, here and at the clients; a notification has six.
_LEVELS = 30


class LetterView(msgspec.Struct, kw_only=True, frozen=True):
    """A message that was given up on.

    `state`: open; redriven, which is sent again; resolved, which needs nobody any more. `times` it died, first at
    `died_at`. `size`: of its body, in bytes. `task_id` and what follows: of a step's message.
    """

    id: str
    queue: str
    code: str
    reason: str
    state: str
    times: int
    died_at: datetime
    last_died_at: datetime
    size: int
    task_id: str | None
    step_name: str | None
    document_id: str | None
    document_name: str | None
    redriven_at: datetime | None
    redriven_by: str | None


class InputView(msgspec.Struct, kw_only=True, frozen=True):
    """What the function was given. `size`: in bytes; None: it cannot be known now.

    `kind`: body, the letter's own; object, the document itself; artifact, what the step `step_name` made, in so many
    `parts`. `first` and `last`: the bytes [first, last) of it, which were a batch's share.
    """

    kind: str
    size: int | None
    step_name: str | None = None
    parts: int | None = None
    first: int | None = None
    last: int | None = None


class WholeLetterView(LetterView, kw_only=True, frozen=True):
    """`body_format` says what `body` is: json, text, or base64. `complete` false: the body's beginning."""

    body: Any
    body_format: str
    complete: bool
    input: InputView


_COLUMNS = f"""
    letter.id, letter.queue, letter.code, letter.reason, {STATE} AS state, letter.times, letter.died_at,
    letter.last_died_at, letter.size, letter.task_id, letter.step_name, letter.redriven_at, letter.redriven_by,
    task.document_id, document.name AS document_name
"""
_FROM = f"{LETTERS} LEFT JOIN documents AS document ON document.id = task.document_id"
_PAGE = text(f"""
    SELECT {_COLUMNS}, letter.died_at AS created_at FROM {_FROM}
    WHERE {FITS}
        AND (CAST(:after_time AS timestamptz) IS NULL OR (letter.died_at, letter.id) < (:after_time, :after_id))
    ORDER BY letter.died_at DESC, letter.id DESC LIMIT :limit
""")  # noqa: S608 - of the constants above
_WHOLE = text(f"""
    SELECT {_COLUMNS}, letter.body, letter.batch, step.step_order, step.input_first, step.input_last,
        version.file_size
    FROM {_FROM}
        LEFT JOIN document_versions AS version
            ON (version.document_id, version.version) = (task.document_id, task.version)
    WHERE letter.id = :id
""")  # noqa: S608


def page(
    connection: Connection, wanted: Wanted, *, cursor: str | None, limit: int
) -> tuple[list[LetterView], str | None]:
    """The page that begins at `cursor`, the newest first, and the cursor of the next one."""
    values = {**wanted.values, **paging.after(cursor), "limit": limit + 1}
    rows = connection.execute(_PAGE, values).mappings().all()
    shown, following = paging.cut(rows, limit)
    return [LetterView(**_told(row)) for row in shown], following


def read(connection: Connection, objects: ObjectStore, letter_id: str) -> WholeLetterView | None:
    """One letter with its body. The store is asked how large its input is, if only it knows."""
    row = connection.execute(_WHOLE, {"id": letter_id}).one_or_none()
    if row is None:
        return None
    body = bytes(row.body)
    shown, body_format = _readable(body)
    return WholeLetterView(
        **_told(row._mapping),
        body=shown,
        body_format=body_format,
        complete=len(body) == row.size,
        input=_input(connection, objects, row),
    )


def _told(row: RowMapping) -> dict[str, Any]:
    return {name: row[name] for name in LetterView.__struct_fields__}


def _readable(body: bytes) -> tuple[Any, str]:
    try:
        if is_shallow(msgspec.json.decode(body), _LEVELS):
            return msgspec.Raw(body), "json"  # as it came: numbers, too, that Python and JSON count differently
    except UNREADABLE:
        pass
    try:
        return body.decode(), "text"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


def _input(connection: Connection, objects: ObjectStore, letter: Row[Any]) -> InputView:
    if letter.step_order is None:
        return InputView(kind="body", size=letter.size)
    made = connection.execute(
        text("""
            SELECT step_name, count(*) AS parts, bool_or(output_key IS NOT NULL) AS in_store,
                sum(octet_length(output)) AS size
            FROM task_details
            WHERE task_id = :task AND (output IS NOT NULL OR output_key IS NOT NULL)
                AND step_order = (SELECT max(step_order) FROM task_details
                                  WHERE task_id = :task AND step_order < :step
                                      AND (output IS NOT NULL OR output_key IS NOT NULL))
            GROUP BY step_name
        """),
        {"task": letter.task_id, "step": letter.step_order},
    ).one_or_none()
    if made is None:
        return InputView(kind="object", size=letter.file_size)
    size: int | None = made.size or 0
    if made.in_store:
        try:
            size = (size or 0) + objects.size_of_prefix(prefix_of(letter.task_id, made.step_name))
        except Unavailable:
            size = None
    return InputView(
        kind="artifact",
        size=size,
        step_name=made.step_name,
        parts=made.parts,
        first=letter.input_first,
        last=letter.input_last,
    )
