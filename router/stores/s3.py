"""Notifications in the form that Amazon S3 gave them, which MinIO, Silo, JuiceFS, Ceph and RustFS send with variations.

The variations: `s3:` before the event's name (MinIO), nothing (AWS, Ceph) or `rustfs:s3` ; `size` missing for an empty
object (MinIO) or given as text (Ceph); `versionId` missing, or "null", where there are no versions.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from urllib.parse import unquote_plus

import msgspec

from common.errors import InvalidEvent
from common.events import ObjectCreated, ObjectEvent, ObjectRemoved

_SEQUENCER_DIGITS = 32


class _Object(msgspec.Struct, rename="camel"):
    key: Annotated[str, msgspec.Meta(min_length=1)]
    size: int | str = 0
    e_tag: str = ""
    version_id: str | None = None
    sequencer: str | None = None
    user_metadata: dict[str, str] | None = None


class _Bucket(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]


class _S3(msgspec.Struct):
    bucket: _Bucket
    object: _Object


class _Record(msgspec.Struct, rename="camel"):
    event_name: str
    s3: _S3
    event_time: datetime | None = None


class _Notification(msgspec.Struct):
    records: Annotated[list[_Record], msgspec.Meta(min_length=1)] = msgspec.field(name="Records")


_decoder = msgspec.json.Decoder(_Notification)


def decode(body: bytes) -> list[ObjectEvent]:
    """The events of a notification. Raises `InvalidEvent` if it is none, or tells of what we do not know."""
    try:
        records = _decoder.decode(body).records
    except msgspec.MsgspecError as error:
        raise InvalidEvent(f"Not an S3 notification: {error}") from error
    return [_event(record) for record in records]


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
    return key


def _size(size: int | str) -> int:
    try:
        return int(size)
    except ValueError as error:
        raise InvalidEvent(f"{size!r} is no size.") from error


def _sequencer(record: _Record) -> str:
    """Where there is none, the event's time takes its place: MinIO's sequencer is just that, nanoseconds in hex."""
    sequencer = record.s3.object.sequencer
    if sequencer:
        return sequencer.upper().rjust(_SEQUENCER_DIGITS, "0")
    if record.event_time is None:
        raise InvalidEvent("A notification needs a sequencer or an event time.")
    return f"{int(record.event_time.timestamp() * 1_000_000_000):0{_SEQUENCER_DIGITS}X}"
