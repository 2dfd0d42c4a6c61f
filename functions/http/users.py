"""Users, for admins."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from sqlalchemy import RowMapping

from common import audit, passwords, users
from common.errors import NotFound
from common.http import Call
from common.paging import Cursor, Limit
from common.passwords import Password

Username = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=100, pattern=r"^[\w.@+-]+\Z", description="Letters, digits and any of .@+-_"),
]


class NewUser(msgspec.Struct):
    """Who has no password logs in by OIDC, or not at all and uses API keys that an admin made."""

    username: Username
    password: Password | None = None
    is_admin: bool = False


class UserChange(msgspec.Struct):
    """What is left out stays as it is."""

    password: Password | None = None
    disabled: bool | None = None
    is_admin: bool | None = None


class UserQuery(msgspec.Struct):
    username: Annotated[str, msgspec.Meta(max_length=256, description="Only who is called exactly so.")] | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class UserView(msgspec.Struct, kw_only=True, frozen=True):
    """`has_oidc`: whether they came by the OIDC provider."""

    id: str
    username: str
    is_admin: bool
    disabled: bool
    has_password: bool
    has_oidc: bool
    default_knowledge_base_id: str | None
    created_at: datetime

    @classmethod
    def of(cls, row: RowMapping) -> UserView:
        """From a row of common/users.py."""
        told = {name: row[name] for name in cls.__struct_fields__ if name in row}
        return cls(disabled=row["disabled_at"] is not None, **told)


class UserPage(msgspec.Struct, frozen=True):
    items: list[UserView]
    next_cursor: str | None


class Removal(msgspec.Struct, frozen=True):
    """Of who owns anything the account stays, disabled."""

    user_id: str
    outcome: Literal["deleted", "disabled"]


def create_user(call: Call, body: NewUser) -> UserView:
    """Make a user, and a knowledge base `default` of their own."""
    fresh = passwords.hashed(body.password) if body.password else None
    with call.services.database.transaction() as connection:
        user_id = users.create(connection, body.username, password_hash=fresh, is_admin=body.is_admin)
        audit.record(connection, call.caller, "user.create", user_id, username=body.username, is_admin=body.is_admin)
    return get_user(call, user_id)


def list_users(call: Call, query: UserQuery) -> UserPage:
    """Users, the newest first."""
    with call.services.database.transaction() as connection:
        rows, next_cursor = users.page(connection, username=query.username, limit=query.limit, cursor=query.cursor)
    return UserPage([UserView.of(row) for row in rows], next_cursor)


def read_user(call: Call) -> UserView:
    """A user."""
    return get_user(call, call.path["user_id"])


def change_user(call: Call, body: UserChange) -> UserView:
    """Set a user's password, disable or enable them, make or unmake them an admin."""
    user_id = call.path["user_id"]
    fresh = passwords.hashed(body.password) if body.password else None
    told = {"disabled": body.disabled, "is_admin": body.is_admin, "password": bool(body.password) or None}
    with call.services.database.transaction() as connection:
        if not users.change(connection, user_id, disabled=body.disabled, is_admin=body.is_admin):
            raise _unknown(user_id)
        if fresh:
            users.set_password(connection, user_id, fresh)
        changes = {name: value for name, value in told.items() if value is not None}
        audit.record(connection, call.caller, "user.change", user_id, **changes)
    return get_user(call, user_id)


def remove_user(call: Call) -> Removal:
    """Delete a user of whom nothing is there; disable one who owns anything."""
    user_id = call.path["user_id"]
    with call.services.database.transaction() as connection:
        outcome = users.remove(connection, user_id)
        if outcome is None:
            raise _unknown(user_id)
        audit.record(connection, call.caller, "user.remove", user_id, outcome=outcome)
    return Removal(user_id, outcome)


def get_user(call: Call, user_id: str) -> UserView:
    with call.services.database.transaction() as connection:
        row = users.read(connection, user_id)
    if row is None:
        raise _unknown(user_id)
    return UserView.of(row)


def _unknown(user_id: str) -> NotFound:
    return NotFound(f"There is no user {user_id!r}.")
