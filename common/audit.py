"""Who did what: written in the transaction that does it, and never changed. A trigger sees to that."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

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
