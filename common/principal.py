"""Who asks, as the rest of the house knows them. How they prove it: common/security.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What a credential may be used for. Each is asked for by itself: admin does not include write."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"  # of use to admins only


ALL_SCOPES = frozenset(Scope)
TOKEN = "token"  # noqa: S105 - what a principal's credential is called when it is an access token


@dataclass(frozen=True, slots=True)
class Principal:
    """`credential` names what was shown, and tells nothing of its secret: a key's prefix, or "token".

    `default_base`: the knowledge base of their own that is meant where they name none; empty: it was not looked up.
    """

    user_id: str
    is_admin: bool
    scopes: frozenset[Scope] = ALL_SCOPES
    credential: str = ""
    expires_at: datetime | None = None
    default_base: str = ""

    @property
    def sees_all(self) -> bool:
        return self.is_admin and Scope.ADMIN in self.scopes
