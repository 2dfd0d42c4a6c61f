"""Who shows a credential: an API key or an access token."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from common import access_tokens, api_keys
from common.access_tokens import AccessTokens
from common.credential_cache import CredentialCache
from common.db import Database
from common.errors import Unauthenticated
from common.principal import TOKEN, Principal

if TYPE_CHECKING:
    from common.services import Services

# Longer than any key or token of ours.
_LONGEST = 4096
_REFUSED = "This API key or access token is not known, or no longer good."


def authenticate(services: Services, credential: str) -> Principal:
    """Whose credential this is. Raises `Unauthenticated`, and does not tell whether any part of it was right."""
    return services.authenticator.principal(credential)


class Authenticator:
    def __init__(self, database: Database, tokens: AccessTokens, *, cache_seconds: float) -> None:
        self._database = database
        self._tokens = tokens
        self.cache = CredentialCache(cache_seconds)

    def principal(self, credential: str) -> Principal:
        """As `authenticate`."""
        if not (credential.isascii() and credential.isprintable() and 0 < len(credential) <= _LONGEST):
            raise Unauthenticated(_REFUSED)
        if known := self.cache.get(credential):
            return known
        changes = self.cache.changes
        with self._database.transaction() as connection:
            if access_tokens.looks_like_one(credential):
                found = self._bearer(connection, credential)
            else:
                found = api_keys.find(connection, credential)
        if found is None:
            raise Unauthenticated(_REFUSED)
        self.cache.put(credential, found, changes)
        return found

    def _bearer(self, connection: Connection, token: str) -> Principal | None:
        claims = self._tokens.read(token)
        if claims is None:
            return None
        # A token of the very moment at which a password changed may be from before it.
        user = connection.execute(
            text("""
                SELECT is_admin, default_knowledge_base_id AS default_base FROM users
                WHERE id = :id AND disabled_at IS NULL
                    AND coalesce(tokens_valid_after < to_timestamp(:issued), true)
            """),
            {"id": claims.sub, "issued": claims.iat},
        ).one_or_none()
        if user is None:
            return None
        return Principal(
            claims.sub, user.is_admin, claims.scopes, TOKEN, claims.expires_at, default_base=user.default_base or ""
        )


def same_secret(given: str, expected: str) -> bool:
    """Compare in constant time; an empty expectation is never met."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())
