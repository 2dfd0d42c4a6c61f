"""Access tokens: signed JWTs, with which who has logged in shows for an hour who they are."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec

from common.errors import ConfigurationError
from common.principal import Scope
from common.settings import Settings

_ALGORITHM = "HS256"
_ISSUER = "bucket-brigade"
_AUDIENCE = "bucket-brigade-api"
# RFC 7518, section 3.2: a key of at least the hash's size.
_MIN_SECRET_BYTES = 32
_REQUIRED = ["iss", "aud", "sub", "iat", "exp", "jti", "scope"]


class Claims(msgspec.Struct, frozen=True):
    """What a token of ours says: whose it is, since when, until when, and for what."""

    sub: str
    iat: float
    exp: int
    scope: str

    @property
    def scopes(self) -> frozenset[Scope]:
        return frozenset(scope for scope in Scope if scope in self.scope.split())

    @property
    def expires_at(self) -> datetime:
        return datetime.fromtimestamp(self.exp, UTC)


class AccessToken(msgspec.Struct, frozen=True):
    """What a login answers. `expires_in`: seconds."""

    access_token: str
    token_type: str
    expires_in: int


def looks_like_one(credential: str) -> bool:
    """Whether it can be a JWT: three parts, of which the first is JSON's `{"` in base64."""
    return credential.startswith("eyJ") and credential.count(".") == 2


class AccessTokens:
    def __init__(self, settings: Settings) -> None:
        """Raises `ConfigurationError` for a secret that can be guessed; without one, logins and tokens are refused."""
        self._secret = settings.jwt_secret.get_secret_value()
        self._seconds = settings.access_token_seconds
        if self._secret and len(self._secret.encode()) < _MIN_SECRET_BYTES:
            raise ConfigurationError(f"BRIGADE_JWT_SECRET must have {_MIN_SECRET_BYTES} bytes or more.")

    def demand(self) -> None:
        """Raise `ConfigurationError` unless this deployment can issue tokens."""
        if not self._secret:
            raise ConfigurationError(
                "Nobody can log in: BRIGADE_JWT_SECRET is not set.", server="login (BRIGADE_JWT_SECRET is not set)"
            )

    def issue(self, user_id: str, scopes: Iterable[Scope], now: datetime) -> AccessToken:
        """`now` by Postgres's clock, by which a new password makes older tokens void."""
        self.demand()
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": user_id,
            "iat": now.timestamp(),
            "exp": now + timedelta(seconds=self._seconds),
            "jti": secrets.token_urlsafe(12),
            "scope": " ".join(sorted(scopes)),
        }
        return AccessToken(jwt.encode(claims, self._secret, _ALGORITHM), "bearer", self._seconds)

    def read(self, token: str) -> Claims | None:
        """What a token says; None unless it is ours and still good."""
        if not self._secret:
            return None
        options: Any = {"require": _REQUIRED, "verify_iat": False}  # iat is by another clock than ours
        try:
            said = jwt.decode(
                token, self._secret, algorithms=[_ALGORITHM], issuer=_ISSUER, audience=_AUDIENCE, options=options
            )
            return msgspec.convert(said, Claims)
        except (jwt.InvalidTokenError, msgspec.ValidationError):
            return None
