"""Lists in pages that stay right while rows arrive: each page begins after the last row of the one before it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from sqlalchemy import RowMapping

from common.errors import RequestError

Limit = Annotated[int, msgspec.Meta(ge=1, le=200, description="How many at most.")]
Cursor = Annotated[str, msgspec.Meta(max_length=200, description="The `next_cursor` of the page before.")]

T = TypeVar("T")


class _Position(msgspec.Struct, array_like=True):
    created_at: datetime
    id: str


def after(cursor: str | None) -> dict[str, Any]:
    """Where a page begins, as the parameters `after_time` and `after_id` (None: at the newest).

    For statements that end in: `AND (CAST(:after_time AS timestamptz) IS NULL OR (created_at, id) < (:after_time,
    :after_id)) ORDER BY created_at DESC, id DESC LIMIT :limit`, with a limit of one more than the page holds.
    """
    if cursor is None:
        return {"after_time": None, "after_id": ""}
    try:
        position = msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode("ascii")), type=_Position)
    except (ValueError, msgspec.MsgspecError) as error:
        raise RequestError("The cursor is none that a list of ours gave.", code="INVALID_CURSOR") from error
    if "\0" in position.id or position.created_at.tzinfo is None:
        raise RequestError("The cursor is none that a list of ours gave.", code="INVALID_CURSOR")
    return {"after_time": position.created_at, "after_id": position.id}


def cut(rows: Sequence[RowMapping], limit: int) -> tuple[Sequence[RowMapping], str | None]:
    """The page's rows, of one more than it holds, and the cursor of the next page. Rows have `created_at` and `id`."""
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    position = msgspec.json.encode(_Position(last["created_at"], last["id"]))
    return rows[:limit], base64.urlsafe_b64encode(position).decode()
