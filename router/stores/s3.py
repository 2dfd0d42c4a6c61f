"""Notifications in the form that Amazon S3 gave them, which MinIO, Silo, JuiceFS, Ceph and RustFS send with variations.

The variations: `s3:` before the event's name (MinIO), nothing (AWS, Ceph) or `rustfs:s3` ; `size` missing for an empty
object (MinIO) or given as text (Ceph); `versionId` missing, or "null", where there are no versions.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import unquote_plus

import msgspec

from common.errors import InvalidEvent
from common.events import SEQUENCER_DIGITS, ObjectCreated, ObjectEvent, ObjectRemoved, sequencer_at
from common.untrusted import UNREADABLE, holds_nul

# S3's limit, in bytes of UTF-8. Postgres, too, indexes none that is much longer.
_MAX_KEY_BYTES = 1024
_MAX_SIZE = (1 << 63) - 1


class _Object(msgspec.Struct, rename="camel"):
    key: Annotated[str, msgspec.Meta(min_length=1)]
    size: int | str = 0
    e_tag: str = ""
    version_id: str | None = None
    sequencer: Annotated[str, msgspec.Meta(max_length=SEQUENCER_DIGITS)] | None = None
    user_metadata: dict[str, str] | None = None


class _Bucket(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class _S3(msgspec.Struct):
    bucket: _Bucket
    object: _Object


class _Record(msgspec.Struct, rename="camel"):
    event_name: str
    s3: _S3
    event_time: datetime | None = None


class _Notification(msgspec.Struct):
    records: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)] = msgspec.field(name="Records")


_notification = msgspec.json.Decoder(_Notification)
_record = msgspec.json.Decoder(_Record)


def decode(body: bytes) -> tuple[list[ObjectEvent], InvalidEvent | None]:
    """The events of a notification, and what is wrong with the first record that can never be understood, if any."""
    try:
        records = _notification.decode(body).records
    except UNREADABLE as error:
        return [], InvalidEvent(f"Not an S3 notification: {error}")
    events: list[ObjectEvent] = []
    wrong: InvalidEvent | None = None
    for raw in records:
        try:
            events.append(_event(_decoded(raw)))
        except InvalidEvent as error:
            wrong = wrong or error
    return events, wrong


def _decoded(raw: msgspec.Raw) -> _Record:
    try:
        record = _record.decode(raw)
    except UNREADABLE as error:
        raise InvalidEvent(f"Not a record of an S3 notification: {error}") from error
    if holds_nul(memoryview(raw)):
        raise InvalidEvent("A record of an S3 notification holds a NUL character.")
    return record


def _event(record: _Record) -> ObjectEvent:
    name = record.event_name.rpartition("s3:")[2]
    found = record.s3.object
    bucket, key, sequencer = record.s3.bucket.name, _key(found.key), _sequencer(record)
    if name.startswith("ObjectRemoved:"):
        return ObjectRemoved(bucket, key, sequencer)
    if not name.startswith("ObjectCreated:"):
        raise InvalidEvent(f"An event named {record.event_name!r} is not one that this listens to.")
    if not found.e_tag:
        raise InvalidEvent(f"The creation of {key!r} names no ETag.")
    return ObjectCreated(
        bucket,
        key,
        sequencer,
        etag=found.e_tag.strip('"'),
        size=_size(found.size),
        content_type=(found.user_metadata or {}).get("content-type"),
        version_id=None if found.version_id in (None, "", "null") else found.version_id,
    )


def _key(escaped: str) -> str:
    """Keys are query-escaped in notifications: a space is `+`. Decoded here, once, and nowhere else."""
    try:
        key = unquote_plus(escaped, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidEvent(f"The key {escaped!r} is not UTF-8.") from error
    if "\x00" in key:
        raise InvalidEvent(f"The key {escaped!r} holds a NUL character.")
    if len(key.encode()) > _MAX_KEY_BYTES:
        raise InvalidEvent(f"A key has at most {_MAX_KEY_BYTES:,} bytes, not {len(key.encode()):,}: {key[:80]!r}")
    return key


def _size(size: int | str) -> int:
    try:
        number = int(size)
    except ValueError as error:
        raise InvalidEvent(f"{str(size)[:80]!r} is no size.") from error
    if not 0 <= number <= _MAX_SIZE:
        raise InvalidEvent(f"{str(size)[:80]} is no size.")
    return number


def _sequencer(record: _Record) -> str:
    """Where there is none, the event's time takes its place."""
    sequencer = record.s3.object.sequencer
    if sequencer:
        return sequencer.upper().rjust(SEQUENCER_DIGITS, "0")
    if record.event_time is None:
        raise InvalidEvent("A notification needs a sequencer or an event time.")
    # A time without a zone is UTC, as all of S3's are; years before 1970 have no place in the order.
    moment = record.event_time.replace(tzinfo=record.event_time.tzinfo or UTC)
    if moment.timestamp() < 0:
        raise InvalidEvent(f"No event happened at {record.event_time}.")
    return sequencer_at(moment)
