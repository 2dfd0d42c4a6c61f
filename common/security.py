"""API keys: random, shown once, kept as a hash under a look-up prefix."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from sqlalchemy import Connection, text

from common.documents import ADMIN_USER
from common.errors import ConfigurationError, Unauthenticated
from common.principal import Principal, Scope

_PREFIX_LENGTH = 12
_MIN_LENGTH = 32


def new_key() -> str:
    """A fresh key: 256 random bits."""
    return "bb_" + secrets.token_urlsafe(32)


def register_admin_key(connection: Connection, key: str) -> None:
    """Make `key` an admin's. Repeating it changes nothing. `ConfigurationError` if it can not be told from another."""
    if len(key) < _MIN_LENGTH:
        raise ConfigurationError(
            f"BRIGADE_API_KEY must have {_MIN_LENGTH} characters or more. Leave it unset to have one made."
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
    return bool(connection.execute(text("SELECT 1 FROM api_keys WHERE revoked_at IS NULL LIMIT 1")).one_or_none())


def authenticate(connection: Connection, key: str) -> Principal:
    """Whose key this is. Raises `Unauthenticated`, and does not tell whether any part of it was right."""
    row = connection.execute(
        text("""
            SELECT api_keys.hash, api_keys.prefix, api_keys.scopes, api_keys.expires_at, users.id, users.is_admin
            FROM api_keys JOIN users ON users.id = api_keys.user_id
            WHERE api_keys.prefix = :prefix AND api_keys.revoked_at IS NULL AND users.disabled_at IS NULL
                AND coalesce(api_keys.expires_at > now(), true)
        """),
        {"prefix": key[:_PREFIX_LENGTH]},
    ).one_or_none()
    if row is None or not hmac.compare_digest(bytes(row.hash), _hash(key)):
        raise Unauthenticated("This API key is not known, or was revoked.")
    return Principal(row.id, row.is_admin, frozenset(map(Scope, row.scopes)), row.prefix, row.expires_at)


def same_secret(given: str, expected: str) -> bool:
    """Compare in constant time; an empty expectation is never met."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
