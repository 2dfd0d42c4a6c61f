"""What a store tells of an object, or of there being none, when it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from common.events import ObjectCreated


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
