"""Notifications as stores send them. The files are real ones, of a MinIO gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import InvalidEvent, InvalidMessage
from common.events import ObjectCreated, ObjectEvent, ObjectRemoved
from router import message
from router.stores import s3

SAMPLES = Path(__file__).parent / "notifications"


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SAMPLES / f"minio-webhook-{name}.json").read_bytes())
    return loaded


def changed(**record: Any) -> bytes:
    """The put sample with parts of its record's object or of the record replaced; None removes."""
    body = sample("put")
    one = body["Records"][0]
    for name, value in record.items():
        place = one if name in ("eventName", "eventTime") else one["s3"]["object"]
        place.pop(name, None) if value is None else place.update({name: value})
    return json.dumps(body).encode()


def decode(body: bytes) -> list[ObjectEvent]:
    events, error = s3.decode(body)
    if error:
        raise error
    return events


def test_a_put_is_a_creation_with_its_key_unescaped_once() -> None:
    (event,) = decode(json.dumps(sample("put")).encode())
    assert event == ObjectCreated(
        bucket="docs",
        key="u/中 文+1.txt",
        sequencer="18EA4718197B4809".rjust(32, "0"),
        etag="15986aaa2edb1a5148af59d63d59e281",
        size=5000,
        content_type="binary/octet-stream",
        version_id=None,
    )


def test_a_completed_multipart_upload_is_a_creation() -> None:
    (event,) = decode(json.dumps(sample("complete-multipart")).encode())
    assert isinstance(event, ObjectCreated)
    assert (event.size, event.etag) == (10485760, "d316408c159ea701ab954894bd3a92c2-2")


def test_a_delete_is_a_removal_later_than_the_put() -> None:
    (put,) = decode(json.dumps(sample("put")).encode())
    (removed,) = decode(json.dumps(sample("removed")).encode())
    assert isinstance(removed, ObjectRemoved)
    assert removed.key == put.key
    assert removed.sequencer > put.sequencer


@pytest.mark.parametrize("name", ["ObjectCreated:Put", "s3:ObjectCreated:Post", "rustfs:s3:ObjectCreated:Copy"])
def test_event_names_come_with_and_without_a_prefix(name: str) -> None:
    (event,) = decode(changed(eventName=name))
    assert isinstance(event, ObjectCreated)


def test_a_delete_marker_is_a_removal() -> None:
    (event,) = decode(changed(eventName="s3:ObjectRemoved:DeleteMarkerCreated", eTag=None))
    assert isinstance(event, ObjectRemoved)


@pytest.mark.parametrize(("given", "meant"), [(None, 0), ("17", 17), (3, 3)])
def test_a_size_may_be_missing_or_text(given: object, meant: int) -> None:
    (event,) = decode(changed(size=given))
    assert isinstance(event, ObjectCreated)
    assert event.size == meant


@pytest.mark.parametrize(("given", "meant"), [(None, None), ("null", None), ("", None), ("v1", "v1")])
def test_a_version_id_may_be_missing_or_null(given: object, meant: str | None) -> None:
    (event,) = decode(changed(versionId=given))
    assert isinstance(event, ObjectCreated)
    assert event.version_id == meant


def test_without_a_sequencer_the_time_of_the_event_orders() -> None:
    (event,) = decode(changed(sequencer=None))
    # MinIO's own sequencer for this event is 1 ms before the end of the millisecond that eventTime names.
    assert event.sequencer[:-6] == "18EA4718197B4809".rjust(32, "0")[:-6]


def test_sequencers_of_different_length_compare_as_numbers() -> None:
    (short,), (long,) = decode(changed(sequencer="ff")), decode(changed(sequencer="100"))
    assert short.sequencer < long.sequencer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"Records": []}',
        b'{"Records": [{}]}',
        b'{"Records": null}',
        "中文".encode("gb18030"),
        changed(eventName="s3:ObjectAccessed:Get"),
        changed(eventName="s3:ObjectCreated"),
        changed(eventName=None),
        changed(key=""),
        changed(key="%FF%FE"),
        changed(key="a%00b"),
        changed(eTag=None),
        changed(key="k" * 1025),
        changed(size="large"),
        changed(size="1" * 5000),
        changed(size=1 << 63),
        changed(size=str(1 << 63)),
        changed(size=-1),
        changed(sequencer="a\0b"),
        changed(sequencer="1" * 33),
        changed(sequencer=None, eventTime="0001-01-01T00:00:00"),
        json.dumps(sample("put")).encode().replace(b"15986aaa2edb1a51", b"\xff" * 16),
        b'{"Records": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"Ignored": ' + b"[" * 100_000 + b"]" * 100_000 + b', "Records": []}',
        changed(sequencer=None, eventTime=None),
    ],
)
def test_what_is_no_notification_says_so(body: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode(body)


def test_one_bad_record_does_not_lose_the_good_ones() -> None:
    records = sample("put")["Records"] + json.loads(changed(size=-1))["Records"] + sample("removed")["Records"]
    events, error = s3.decode(json.dumps({"Records": records}).encode())
    assert [type(event) for event in events] == [ObjectCreated, ObjectRemoved]
    assert error is not None
    assert "-1" in error.message


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    (event,) = decode(changed(sequencer=r"\u0000"))
    assert event.sequencer.endswith(r"\U0000")


@pytest.mark.parametrize(
    "body", [b'{"pipeline": "\xff"}', b'{"x": ' + b"[" * 100_000, b'{"x": "\xff"}', b"\x00", b"{}", b"[]"]
)
def test_what_is_no_message_of_a_step_says_so(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        message.decode(body)


def test_a_message_with_a_nul_is_none() -> None:
    body = message.encode(message.Message("DOCUMENT_UPLOAD", "VALIDATE", "a\0b", 2))
    with pytest.raises(InvalidMessage):
        message.decode(body)
