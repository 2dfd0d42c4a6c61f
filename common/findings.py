"""What a store tells of an object, or of there being none, when it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from common.events import ObjectCreated

_SECOND, _MILLISECOND = timedelta(seconds=1), timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Found:
    """An object. `etag` without quotes; `version_id` only where the bucket keeps versions.

    All times are the store's: it was written between `written_at` and `written_until`, as finely as the store tells,
    and asked for in the second that began at `asked_at`.
    """

    etag: str
    size: int
    written_at: datetime
    written_until: datetime
    asked_at: datetime
    content_type: str | None = None
    version_id: str | None = None

    def as_event(self, bucket: str, key: str, sequencer: str, until: str | None) -> ObjectCreated:
        return ObjectCreated(
            bucket,
            key,
            sequencer,
            etag=self.etag,
            size=self.size,
            content_type=self.content_type,
            version_id=self.version_id,
            until=until,
        )


@dataclass(frozen=True, slots=True)
class Gone:
    """The store said in so many words that there is no such key."""

    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Listed:
    key: str
    found: Found


def found_of(told: Any) -> Found:
    """What minio-py tells of an object: of one that was asked for in whole seconds, of one that was listed finer."""
    written_at = told.last_modified or datetime.fromtimestamp(0, UTC)
    return Found(
        etag=told.etag or "",
        size=told.size or 0,
        content_type=told.content_type,
        version_id=None if told.version_id in (None, "", "null") else told.version_id,
        written_at=written_at,
        written_until=written_at + (_MILLISECOND if written_at.microsecond else _SECOND),
        asked_at=clock_of(told.metadata or {}),
    )


def clock_of(headers: Mapping[str, str]) -> datetime:
    """The store's time when it answered, in whole seconds; ours where it does not tell."""
    told = headers.get("Date") or headers.get("date")
    return parsedate_to_datetime(told).astimezone(UTC) if told else datetime.now(UTC)
