"""What happened to an object, in our own words: a store's notification becomes one of these at the edge, once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

SEQUENCER_DIGITS = 32

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sequencer_at(moment: datetime) -> str:
    """In place of a sequencer, of an event at this moment: MinIO's is just that, nanoseconds in hex."""
    return f"{(moment - _EPOCH) // timedelta(microseconds=1) * 1000:0{SEQUENCER_DIGITS}X}"


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """`sequencer` orders the events of one key: hexadecimal, left-padded to 32 digits, so text order is event order.

    `until`, of an event that no store told: its own sequencer would lie between these two.
    """

    bucket: str
    key: str
    sequencer: str
    until: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class ObjectCreated(ObjectEvent):
    """`etag` without quotes; `version_id` only where the bucket keeps versions."""

    etag: str
    size: int
    content_type: str | None = None
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectRemoved(ObjectEvent):
    pass
