"""Notifications as stores send them. The files are real ones, of a MinIO gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import InvalidEvent
from common.events import ObjectCreated, ObjectRemoved
from router.stores.s3 import decode

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
        changed(size="large"),
        changed(sequencer=None, eventTime=None),
    ],
)
def test_what_is_no_notification_says_so(body: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode(body)
