"""Users: made with a knowledge base of their own, changed, and removed as far as nothing is theirs.

All take an open transaction. There is always an admin who is not disabled.
"""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, RowMapping, text
from sqlalchemy.exc import IntegrityError

from common import paging
from common.errors import Conflict
from common.principal import Scope

_OF_USER = """
    id, username, is_admin, disabled_at, created_at, default_knowledge_base_id,
    password_hash IS NOT NULL AS has_password, oidc_issuer IS NOT NULL AS has_oidc
"""


def scopes_of(is_admin: bool) -> frozenset[Scope]:
    """Everything that a user may let a credential of theirs do."""
    return frozenset(Scope) if is_admin else frozenset({Scope.READ, Scope.WRITE})


def clean_username(name: str) -> str:
    """The form in which names are compared: two that look alike by compatibility are one."""
    return unicodedata.normalize("NFKC", name)


def create(
    connection: Connection,
    username: str,
    *,
    password_hash: str | None = None,
    is_admin: bool = False,
    oidc: tuple[str, str] | None = None,
) -> str:
    """A user and their knowledge base `default`; the user's id. `oidc`: issuer and subject.

    Raises `Conflict` if the name, or the OIDC identity, is another's.
    """
    user_id, base_id = str(uuid.uuid4()), str(uuid.uuid4())
    issuer, subject = oidc or (None, None)
    made = connection.execute(
        text("""
            INSERT INTO users (id, username, password_hash, is_admin, oidc_issuer, oidc_subject)
            VALUES (:id, :username, :hash, :is_admin, :issuer, :subject) ON CONFLICT DO NOTHING
        """),
        {
            "id": user_id,
            "username": clean_username(username),
            "hash": password_hash,
            "is_admin": is_admin,
            "issuer": issuer,
            "subject": subject,
        },
    )
    if not made.rowcount:
        raise Conflict(f"There is a user {username!r} already.", code="USER_EXISTS")
    connection.execute(
        text("INSERT INTO knowledge_bases (id, name, owner_id) VALUES (:base, 'default', :user)"),
        {"base": base_id, "user": user_id},
    )
    connection.execute(
        text("UPDATE users SET default_knowledge_base_id = :base WHERE id = :user"), {"base": base_id, "user": user_id}
    )
    return user_id


def read(connection: Connection, user_id: str) -> RowMapping | None:
    """A user as admins, and they themselves, see them."""
    rows = connection.execute(text(f"SELECT {_OF_USER} FROM users WHERE id = :id"), {"id": user_id})  # noqa: S608
    return rows.mappings().one_or_none()


def page(
    connection: Connection, *, username: str | None, limit: int, cursor: str | None
) -> tuple[Sequence[RowMapping], str | None]:
    """Users, the newest first, and the next page's cursor. `username`: only who is called exactly so."""
    rows = connection.execute(
        text(f"""
            SELECT {_OF_USER} FROM users
            WHERE (CAST(:username AS text) IS NULL OR username = :username)
                AND (CAST(:after_time AS timestamptz) IS NULL OR (created_at, id) < (:after_time, :after_id))
            ORDER BY created_at DESC, id DESC LIMIT :limit
        """),  # noqa: S608 - of the constant above
        {"username": username and clean_username(username), "limit": limit + 1} | paging.after(cursor),
    )
    return paging.cut(rows.mappings().all(), limit)


def change(connection: Connection, user_id: str, *, disabled: bool | None = None, is_admin: bool | None = None) -> bool:
    """Disable, enable, make or unmake an admin; None: as it is. False if there is no such user.

    Who is disabled loses their access tokens for good, and their keys for as long. Raises `Conflict` if no admin
    would be left.
    """
    if disabled or is_admin is False:
        _demand_another_admin(connection, user_id)
    changed = connection.execute(
        text("""
            UPDATE users SET
                is_admin = coalesce(:is_admin, is_admin),
                disabled_at = CASE WHEN :disabled THEN coalesce(disabled_at, now())
                    WHEN NOT :disabled THEN NULL ELSE disabled_at END,
                tokens_valid_after = CASE WHEN :disabled THEN clock_timestamp() ELSE tokens_valid_after END
            WHERE id = :id
        """),
        {"id": user_id, "disabled": disabled, "is_admin": is_admin},
    )
    return bool(changed.rowcount)


def remove(connection: Connection, user_id: str) -> Literal["deleted", "disabled"] | None:
    """Delete a user of whom nothing is there; disable one who owns, or has begun, anything. None: no such user.

    Raises `Conflict` if no admin would be left.
    """
    if not change(connection, user_id, disabled=True):
        return None
    user = {"id": user_id}
    try:
        with connection.begin_nested():
            connection.execute(text("UPDATE users SET default_knowledge_base_id = NULL WHERE id = :id"), user)
            connection.execute(
                text("""
                    DELETE FROM knowledge_bases AS base WHERE owner_id = :id AND NOT EXISTS (
                        SELECT 1 FROM tasks WHERE tasks.knowledge_base_id = base.id)
                """),
                user,
            )
            gone = connection.execute(
                text("DELETE FROM users WHERE id = :id AND NOT EXISTS (SELECT 1 FROM tasks WHERE created_by = :id)"),
                user,
            )
            if not gone.rowcount:
                raise _OwnsSomethingError
    except (IntegrityError, _OwnsSomethingError):
        return "disabled"
    return "deleted"


def credentials(connection: Connection, username: str) -> Row[Any] | None:
    """`id`, `password_hash`, `disabled_at` of who is called so."""
    return connection.execute(
        text("SELECT id, password_hash, disabled_at FROM users WHERE username = :username"),
        {"username": clean_username(username)},
    ).one_or_none()


def password_hash(connection: Connection, user_id: str) -> str | None:
    row = connection.execute(text("SELECT password_hash FROM users WHERE id = :id"), {"id": user_id})
    return row.scalar_one_or_none()


def log_in(connection: Connection, user_id: str, *, password_hash: str | None = None) -> tuple[datetime, bool] | None:
    """Now, by Postgres's clock, and whether they are an admin. None if they are disabled, or have a new password.

    `password_hash`: the one that was looked at; None: another than us has looked. The user is held until the
    transaction ends, so that a new password makes void what is issued in it.
    """
    row = connection.execute(
        text("""
            SELECT clock_timestamp() AS now, is_admin FROM users
            WHERE id = :id AND disabled_at IS NULL AND (CAST(:hash AS text) IS NULL OR password_hash = :hash)
            FOR SHARE
        """),
        {"id": user_id, "hash": password_hash},
    ).one_or_none()
    return row and (row.now, row.is_admin)


def set_password(connection: Connection, user_id: str, password_hash: str) -> bool:
    """A new password: all access tokens of before are void. False if there is no such user."""
    return _void_tokens(connection, user_id, "password_hash = :hash,", hash=password_hash)


def log_out(connection: Connection, user_id: str) -> None:
    """All access tokens of the user are void."""
    _void_tokens(connection, user_id)


def rehash(connection: Connection, user_id: str, old: str, new: str) -> None:
    """The same password, hashed with today's parameters."""
    connection.execute(
        text("UPDATE users SET password_hash = :new WHERE id = :id AND password_hash = :old"),
        {"id": user_id, "old": old, "new": new},
    )


def with_identity(connection: Connection, issuer: str, subject: str) -> str | None:
    """The id of the user whom this issuer calls so."""
    row = connection.execute(
        text("SELECT id FROM users WHERE oidc_issuer = :issuer AND oidc_subject = :subject"),
        {"issuer": issuer, "subject": subject},
    )
    return row.scalar_one_or_none()


def free_username(connection: Connection, wanted: Iterable[str]) -> str:
    """The first of these names that is nobody's."""
    for name in wanted:
        if credentials(connection, name) is None:
            return name
    raise Conflict("Every name that this user could have is another's.", code="USER_EXISTS")


def _void_tokens(connection: Connection, user_id: str, also: str = "", **values: Any) -> bool:
    # The clock is read when the row is locked: after any login that is still going on.
    voided = connection.execute(
        text(f"""
            WITH locked AS (SELECT id FROM users WHERE id = :id FOR UPDATE)
            UPDATE users SET {also} tokens_valid_after = clock_timestamp() FROM locked WHERE users.id = locked.id
        """),  # noqa: S608 - of constants in this file
        {"id": user_id, **values},
    )
    return bool(voided.rowcount)


def _demand_another_admin(connection: Connection, user_id: str) -> None:
    # Locked, so that two admins cannot unmake each other at once.
    admins = connection.execute(
        text("SELECT id FROM users WHERE is_admin AND disabled_at IS NULL ORDER BY id FOR UPDATE")
    ).scalars()
    if set(admins) == {user_id}:
        raise Conflict("This is the last admin: make another one first.", code="LAST_ADMIN")


class _OwnsSomethingError(Exception):
    pass
