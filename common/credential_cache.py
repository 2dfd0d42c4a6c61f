"""Credentials that were right a moment ago, so that not every request asks Postgres for its caller.

They are remembered only while somebody listens for Postgres's word that a user or a key has changed, and forgotten
at that word: a key that was revoked works no longer than a notification takes. What was wrong is never remembered.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock

from common.principal import Principal

# Some 5 MB. Whoever fills it has as many good credentials.
_MOST = 10_000


class CredentialCache:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = Lock()
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._listening: Callable[[], bool] = lambda: False
        self._changes = 0

    def while_listening(self, listening: Callable[[], bool]) -> None:
        """From now on it is of use, whenever `listening()`. Whoever listens calls `forget` when they begin, too."""
        self._listening = listening

    @property
    def changes(self) -> int:
        """How often it was told of changes: what was read before the latest is not remembered after it."""
        return self._changes

    def get(self, credential: str) -> Principal | None:
        with self._lock:
            until, principal = self._known.get(_digest(credential), (0.0, None))
        if principal is None or until < time.monotonic() or not self._listening():
            return None
        if principal.expires_at is not None and principal.expires_at <= datetime.now(UTC):
            return None
        return principal

    def put(self, credential: str, principal: Principal, changes: int) -> None:
        """`changes`: as they were before Postgres was asked."""
        with self._lock:
            if not self._listening() or changes != self._changes:
                return
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[_digest(credential)] = (time.monotonic() + self._seconds, principal)

    def forget(self) -> None:
        """A user or a key may have changed."""
        with self._lock:
            self._changes += 1
            self._known.clear()


def _digest(credential: str) -> bytes:
    # Not the credential itself, which would then lie in memory for as long.
    return hashlib.sha256(credential.encode()).digest()
