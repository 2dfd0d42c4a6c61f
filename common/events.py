"""What happened to an object, in our own words: a store's notification becomes one of these at the edge, once."""

from __future__ import annotations

from dataclasses import dataclass

SEQUENCER_DIGITS = 32


def sequencer_at(seconds: float) -> str:
    """In place of a sequencer, of an event at this Unix time: MinIO's is just that, nanoseconds in hex."""
    return f"{int(seconds * 1_000_000_000):0{SEQUENCER_DIGITS}X}"


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """`sequencer` orders the events of one key: hexadecimal, left-padded to 32 digits, so text order is event order."""

    bucket: str
    key: str
    sequencer: str


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
