"""How often one may ask, and how often be wrong.

Counted in each process's own memory: n API processes let through n times as much. It keeps one client from taking all
there is, and makes guessing hopeless; neither needs an exact number, or a server that every request asks.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from threading import Lock

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from common.errors import TooMany
from common.principal import Principal
from common.settings import Settings
from common.users import clean_username

# Enough for all that are in use; when full, who guesses beside them makes them wait a minute, no more.
_CREDENTIALS = 10_000


class Limits:
    """A setting of 0 means: no such limit. All may be called from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = FixedWindowRateLimiter(_Counters())
        self._requests = RateLimitItemPerMinute(settings.requests_per_minute, namespace="requests")
        self._logins = RateLimitItemPerMinute(settings.logins_per_minute, namespace="logins")
        self._failures = RateLimitItemPerMinute(settings.failures_per_minute, namespace="failures")
        self._right: set[bytes] = set()

    def request(self, caller: Principal) -> None:
        """Count a request of this credential. Raises `TooMany`."""
        item, who = self._requests, f"{caller.user_id} {caller.credential}"
        if item.amount and not self._limiter.hit(item, who):
            raise self._too_many(item, who, "requests with this credential")

    def login(self, username: str, address: str) -> None:
        """Raise `TooMany` if too many passwords of this user, or credentials from this address, were wrong."""
        self._demand(self._failures, _network(address), "wrong credentials from this address")
        self._demand(self._logins, _name(username), "wrong passwords of this user")

    def login_was_wrong(self, username: str, address: str) -> None:
        self._limiter.hit(self._failures, _network(address))
        self._limiter.hit(self._logins, _name(username))

    def guess(self, address: str, credential: str) -> None:
        """Raise `TooMany` if too many wrong credentials came from this address, unless this one was right before.

        Many people can share an address, and one of them being wrong is not the others' fault.
        """
        if _digest(credential) not in self._right:
            self._demand(self._failures, _network(address), "wrong credentials from this address")

    def was_wrong(self, address: str, credential: str) -> None:
        self._right.discard(_digest(credential))
        self._limiter.hit(self._failures, _network(address))

    def was_right(self, credential: str) -> None:
        if len(self._right) >= _CREDENTIALS:
            self._right.clear()
        self._right.add(_digest(credential))

    def _demand(self, item: RateLimitItem, who: str, what: str) -> None:
        if item.amount and not self._limiter.test(item, who):
            raise self._too_many(item, who, what)

    def _too_many(self, item: RateLimitItem, who: str, what: str) -> TooMany:
        seconds = max(1, round(self._limiter.get_window_stats(item, who).reset_time - time.time()))
        return TooMany(f"Too many {what}: {item.amount} a minute are allowed.", retry_after=seconds)


class _Counters(Storage):
    """The library's own memory storage starts a thread at nearly every hit: half a millisecond on a busy machine."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()
        self._counts: dict[str, tuple[int, float]] = {}  # how many, until when
        self._tidy_at = 0.0

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = time.time()
        with self._lock:
            if now >= self._tidy_at:
                self._counts = {key: (count, ends) for key, (count, ends) in self._counts.items() if ends > now}
                self._tidy_at = now + expiry
            count, ends = self._counts.get(key, (0, 0.0))
            count, ends = (count + amount, ends) if ends > now else (amount, now + expiry)
            self._counts[key] = count, ends
        return count

    def get(self, key: str) -> int:
        count, ends = self._counts.get(key, (0, 0.0))
        return count if ends > time.time() else 0

    def get_expiry(self, key: str) -> float:
        return self._counts.get(key, (0, time.time()))[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        with self._lock:
            counted, self._counts = len(self._counts), {}
        return counted

    def clear(self, key: str) -> None:
        with self._lock:
            self._counts.pop(key, None)


def _name(username: str) -> str:
    """The same for all forms of a name, and no longer than a digest."""
    return hashlib.sha256(clean_username(username).encode()).hexdigest()


def _digest(credential: str) -> bytes:
    return hashlib.sha256(credential.encode(errors="replace")).digest()


def _network(address: str) -> str:
    """Whoever has one IPv6 address has the 2**64 beside it too. IPv4 in IPv6's clothes, as `::` hears it, is IPv4."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return address
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
