"""API keys: each shown once, with no more rights than who made it has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from sqlalchemy import RowMapping

from common import api_keys, audit, users
from common.errors import Forbidden, NotFound
from common.http import Call
from common.principal import TOKEN, Principal, Scope

_Id = Annotated[str, msgspec.Meta(max_length=200)]


class NewKey(msgspec.Struct):
    """`scopes`: default: all that the caller has. `user_id`: whose it will be; only admins make any for others."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    scopes: Annotated[set[Scope], msgspec.Meta(min_length=1)] | None = None
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = None
    user_id: _Id | None = None


class KeyQuery(msgspec.Struct):
    """`user_id`: of whom; only admins see those of others."""

    user_id: _Id | None = None


class KeyView(msgspec.Struct, kw_only=True, frozen=True):
    """`prefix`: how the key begins, which is its name here."""

    prefix: str
    user_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None

    @classmethod
    def of(cls, row: RowMapping) -> KeyView:
        """From a row of common/api_keys.py."""
        return cls(**{name: row[name] for name in cls.__struct_fields__})


class FreshKey(msgspec.Struct, kw_only=True, frozen=True):
    """`key` is shown here and never again."""

    key: str
    prefix: str
    user_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None


class KeyList(msgspec.Struct, frozen=True):
    """A user has few keys, so there is one page."""

    items: list[KeyView]
    next_cursor: None = None


def create_key(call: Call, body: NewKey) -> FreshKey:
    """Make an API key. One that an expiring key makes does not outlive it."""
    caller = call.caller
    user_id = _whose(caller, body.user_id)
    with call.services.database.transaction() as connection:
        owner = users.read(connection, user_id)
        if owner is None:
            raise NotFound(f"There is no user {user_id!r}.")
        key, row = api_keys.create(
            connection,
            user_id,
            name=body.name,
            scopes=_scopes(caller, body.scopes, is_admin=owner["is_admin"]),
            expires_at=_expiry(caller, body.expires_in_days),
        )
        told = KeyView.of(row)
        audit.record(connection, caller, "key.create", told.prefix, user_id=user_id, scopes=told.scopes)
    return FreshKey(key=key, **msgspec.structs.asdict(told))


def list_keys(call: Call, query: KeyQuery) -> KeyList:
    """The keys of the caller that are not revoked; for admins, of anybody."""
    user_id = _whose(call.caller, query.user_id)
    with call.services.database.transaction() as connection:
        return KeyList([KeyView.of(row) for row in api_keys.of_user(connection, user_id)])


def revoke_key(call: Call) -> None:
    """Revoke a key of the caller's; admins, any. It works nowhere from then on."""
    prefix = call.path["prefix"]
    with call.services.database.transaction() as connection:
        user_id = api_keys.revoke(connection, prefix, call.caller)
        if user_id is None:
            # Which keys others have is nobody's business.
            raise NotFound(f"You have no key that begins with {prefix!r}.")
        audit.record(connection, call.caller, "key.revoke", prefix, user_id=user_id)


def _whose(caller: Principal, user_id: str | None) -> str:
    if user_id in (None, caller.user_id) or caller.sees_all:
        return user_id or caller.user_id
    raise Forbidden("Only an admin may do this for another user.", needed=Scope.ADMIN)


def _scopes(caller: Principal, wanted: set[Scope] | None, *, is_admin: bool) -> frozenset[Scope]:
    """What the key may. `is_admin`: its owner."""
    may = caller.scopes & users.scopes_of(is_admin)
    if wanted is None:
        return may
    if more := sorted(wanted - may):
        raise Forbidden(f"A key cannot have the scope {more[0]!r}: you, or its owner, have it not.", needed=more[0])
    return frozenset(wanted)


def _expiry(caller: Principal, days: int | None) -> datetime | None:
    wanted = datetime.now(UTC) + timedelta(days=days) if days else None
    most = caller.expires_at if caller.credential != TOKEN else None
    return min(filter(None, (wanted, most)), default=None)
