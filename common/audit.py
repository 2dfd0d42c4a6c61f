"""Who did what: written in the transaction that does it, and never changed. A trigger sees to that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from common.principal import Principal
from common.steps import as_json


def record(connection: Connection, caller: Principal, action: str, subject: str, **details: Any) -> None:
    """`action` as `document.delete`, `subject` the id of what it was done to. Never a secret among `details`."""
    connection.execute(
        text("""
            INSERT INTO audit_log (user_id, credential, action, subject, details)
            VALUES (:user, :credential, :action, :subject, :details ::jsonb)
        """),
        {
            "user": caller.user_id,
            "credential": caller.credential,
            "action": action,
            "subject": subject,
            "details": as_json(details),
        },
    )


def entries(
    connection: Connection,
    *,
    user_id: str | None,
    action: str | None,
    subject: str | None,
    since: datetime | None,
    until: datetime | None,
    before: int | None,
    limit: int,
) -> Sequence[RowMapping]:
    """The latest entries of all that these describe (None: any); `before`: only those with a smaller id."""
    rows = connection.execute(
        text("""
            SELECT id, at, user_id, credential, action, subject, details FROM audit_log
            WHERE (CAST(:user AS text) IS NULL OR user_id = :user)
                AND (CAST(:action AS text) IS NULL OR action = :action)
                AND (CAST(:subject AS text) IS NULL OR subject = :subject)
                AND (CAST(:since AS timestamptz) IS NULL OR at >= :since)
                AND (CAST(:until AS timestamptz) IS NULL OR at < :until)
                AND (CAST(:before AS bigint) IS NULL OR id < :before)
            ORDER BY id DESC LIMIT :limit
        """),
        {
            "user": user_id,
            "action": action,
            "subject": subject,
            "since": since,
            "until": until,
            "before": before,
            "limit": limit,
        },
    )
    return rows.mappings().all()
