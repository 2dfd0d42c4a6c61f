"""API keys: random, shown once, kept as a hash under a look-up prefix. All take an open transaction."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, text

from common import access_tokens
from common.documents import ADMIN_USER
from common.errors import ConfigurationError, Conflict
from common.principal import Principal, Scope

_PREFIX_LENGTH = 12
_MIN_LENGTH = 32
_MOST_KEYS = 100  # that work, of one user: more is a program gone astray


def new_key() -> str:
    """A fresh key: 256 random bits."""
    return "bb_" + secrets.token_urlsafe(32)


def register_admin_key(connection: Connection, key: str) -> None:
    """Make `key` an admin's. Repeating it changes nothing. `ConfigurationError` if it can not be told from another."""
    if len(key) < _MIN_LENGTH or access_tokens.looks_like_one(key):
        raise ConfigurationError(
            f"BRIGADE_API_KEY must have {_MIN_LENGTH} characters or more, and be no JWT. "
            "Leave it unset to have one made."
        )
    connection.execute(
        text("""
            INSERT INTO api_keys (prefix, hash, user_id, name) VALUES (:prefix, :hash, :user, 'first admin key')
            ON CONFLICT (prefix) DO NOTHING
        """),
        {"prefix": key[:_PREFIX_LENGTH], "hash": _hash(key), "user": ADMIN_USER},
    )
    stored = connection.execute(
        text("SELECT hash FROM api_keys WHERE prefix = :prefix"), {"prefix": key[:_PREFIX_LENGTH]}
    ).scalar_one()
    if not hmac.compare_digest(bytes(stored), _hash(key)):
        raise ConfigurationError(
            f"BRIGADE_API_KEY begins with the same {_PREFIX_LENGTH} characters as a key that is already registered, "
            "so it would never be found: choose one that begins otherwise."
        )


def has_admin_key(connection: Connection) -> bool:
    """Whether anybody can administer this deployment."""
    rows = connection.execute(
        text("""
            SELECT 1 FROM api_keys JOIN users ON users.id = api_keys.user_id
            WHERE users.is_admin AND users.disabled_at IS NULL AND 'admin' = ANY(scopes)
                AND revoked_at IS NULL AND coalesce(expires_at > now(), true)
            LIMIT 1
        """)
    )
    return bool(rows.one_or_none())


def create(
    connection: Connection, user_id: str, *, name: str, scopes: Iterable[Scope], expires_at: datetime | None
) -> tuple[str, RowMapping]:
    """A fresh key of the user, and its row. Raises `Conflict` if they have too many."""
    key = new_key()
    row = connection.execute(
        text("""
            INSERT INTO api_keys (prefix, hash, user_id, name, scopes, expires_at)
            SELECT :prefix, :hash, :user, :name, :scopes, :expires
            WHERE (SELECT count(*) FROM api_keys
                   WHERE user_id = :user AND revoked_at IS NULL AND coalesce(expires_at > now(), true)) < :most
            RETURNING prefix, user_id, name, scopes, created_at, expires_at, revoked_at
        """),
        {
            "prefix": key[:_PREFIX_LENGTH],
            "hash": _hash(key),
            "user": user_id,
            "name": name,
            "scopes": sorted(scopes),
            "expires": expires_at,
            "most": _MOST_KEYS,
        },
    )
    made = row.mappings().one_or_none()
    if made is None:
        raise Conflict(f"There are {_MOST_KEYS} keys already that work: revoke some.", code="TOO_MANY_KEYS")
    return key, made


def of_user(connection: Connection, user_id: str) -> Sequence[RowMapping]:
    """The user's keys that are not revoked, the newest first."""
    rows = connection.execute(
        text("""
            SELECT prefix, user_id, name, scopes, created_at, expires_at, revoked_at
            FROM api_keys WHERE user_id = :user AND revoked_at IS NULL ORDER BY created_at DESC, prefix
        """),
        {"user": user_id},
    )
    return rows.mappings().all()


def revoke(connection: Connection, prefix: str, caller: Principal) -> str | None:
    """Revoke a key of the caller's, or, for who sees all, of anybody's. Whose it was; None if there is none such."""
    row = connection.execute(
        text("""
            UPDATE api_keys SET revoked_at = coalesce(revoked_at, now())
            WHERE prefix = :prefix AND (:all OR user_id = :user) RETURNING user_id
        """),
        {"prefix": prefix, "all": caller.sees_all, "user": caller.user_id},
    )
    return row.scalar_one_or_none()


def find(connection: Connection, key: str) -> Principal | None:
    """Whose key this is, if it is one that works."""
    row: Row[Any] | None = connection.execute(
        text("""
            SELECT api_keys.hash, api_keys.prefix, api_keys.scopes, api_keys.expires_at, users.id, users.is_admin,
                users.default_knowledge_base_id AS default_base
            FROM api_keys JOIN users ON users.id = api_keys.user_id
            WHERE api_keys.prefix = :prefix AND api_keys.revoked_at IS NULL AND users.disabled_at IS NULL
                AND coalesce(api_keys.expires_at > now(), true)
        """),
        {"prefix": key[:_PREFIX_LENGTH]},
    ).one_or_none()
    if row is None or not hmac.compare_digest(bytes(row.hash), _hash(key)):
        return None
    return Principal(
        row.id, row.is_admin, _known(row.scopes), row.prefix, row.expires_at, default_base=row.default_base or ""
    )


def _known(scopes: Collection[str]) -> frozenset[Scope]:
    return frozenset(map(Scope, scopes))


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
