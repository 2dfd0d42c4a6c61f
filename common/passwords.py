"""Passwords: Argon2id by argon2-cffi's defaults (RFC 9106's second choice: 64 MiB, 3 passes), a few at a time."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Semaphore
from typing import Annotated

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from common.errors import TooMany

# Characters: at least what NIST SP 800-63B asks for; at most what any passphrase has.
Password = Annotated[str, msgspec.Meta(min_length=8, max_length=256)]

_HASHER = PasswordHasher()
# Each hashing takes 64 MiB and 50 ms of a core.
_AT_ONCE = Semaphore(2)
# Who waits holds a thread that other requests need.
_IN_LINE = Semaphore(8)


def hashed(password: str) -> str:
    """The hash to keep. Raises `TooMany` when too many wait for theirs."""
    with _turn():
        return _HASHER.hash(_composed(password))


def matches(password: str, kept: str | None) -> bool:
    """Whether this is the password whose hash was kept; as slow where there is none (None)."""
    with _turn():
        try:
            return _HASHER.verify(kept or _nobodys(), _composed(password)) and kept is not None
        except (VerifyMismatchError, InvalidHashError):
            return False


def is_outdated(kept: str) -> bool:
    """Whether it was made with other parameters than those of today."""
    return _HASHER.check_needs_rehash(kept)


@contextmanager
def _turn() -> Iterator[None]:
    if not _IN_LINE.acquire(blocking=False):
        raise TooMany("Too many people log in at this moment. Try again in a second.")
    try:
        with _AT_ONCE:
            yield
    finally:
        _IN_LINE.release()


@cache
def _nobodys() -> str:
    """What the password of an unknown user is compared with, so that it takes as long as that of a known one."""
    return _HASHER.hash(secrets.token_urlsafe(32))


def _composed(password: str) -> str:
    """One form of what keyboards write in several."""
    return unicodedata.normalize("NFC", password)
