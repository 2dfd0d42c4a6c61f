"""Who did what, for admins."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from common import audit
from common.http import Call
from common.paging import Limit

_Text = Annotated[str, msgspec.Meta(max_length=300)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class AuditQuery(msgspec.Struct):
    """`since` is included, `until` is not."""

    user_id: _Text | None = None
    action: _Text | None = None
    subject: _Text | None = None
    since: _Time | None = None
    until: _Time | None = None
    limit: Limit = 50
    cursor: (
        Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1, description="The `next_cursor` of the page before.")] | None
    ) = None


class AuditView(msgspec.Struct, kw_only=True, frozen=True):
    """`credential`: the prefix of a key, or "token". `subject`: the id of what it was done to."""

    id: int
    at: datetime
    user_id: str
    credential: str
    action: str
    subject: str
    details: dict[str, Any]


class AuditPage(msgspec.Struct, frozen=True):
    items: list[AuditView]
    next_cursor: str | None


def list_audit(call: Call, query: AuditQuery) -> AuditPage:
    """Who did what, the latest first."""
    with call.services.database.transaction() as connection:
        rows = audit.entries(
            connection,
            user_id=query.user_id,
            action=query.action,
            subject=query.subject,
            since=query.since,
            until=query.until,
            before=query.cursor,
            limit=query.limit + 1,
        )
    items = [AuditView(**row) for row in rows[: query.limit]]
    return AuditPage(items, str(items[-1].id) if len(rows) > query.limit else None)
