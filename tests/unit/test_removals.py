"""After a removal the bucket is asked what is there: where versions are kept, it may still be an object."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import cast

import pytest

from common import documents
from common.db import Database
from common.events import ObjectCreated, ObjectEvent, ObjectRemoved
from common.failpoints import Failpoints
from common.objects import ObjectStore
from common.steps import StepRef
from router.broker import Delivery
from router.fake_broker import FakeBroker
from router.ingress import Ingress
from router.outbox import Outbox

REMOVED = ObjectRemoved("kept", "incoming/a b.txt", "17")
BODY = (
    b'{"Records": [{"eventName": "s3:ObjectRemoved:Delete", "s3": {"bucket": {"name": "kept"},'
    b' "object": {"key": "incoming%2Fa+b.txt", "sequencer": "17"}}}]}'
)


@pytest.fixture
def versions(store: ObjectStore) -> list[str]:
    """Two versions of one key in a bucket that keeps them, the older first."""
    store.admin.create_bucket(Bucket=REMOVED.bucket)
    store.admin.put_bucket_versioning(Bucket=REMOVED.bucket, VersioningConfiguration={"Status": "Enabled"})
    return [
        store.admin.put_object(Bucket=REMOVED.bucket, Key=REMOVED.key, Body=body, ContentType="text/plain")["VersionId"]
        for body in (b"old", b"newest")
    ]


def remove(store: ObjectStore, version: str | None = None) -> str:
    options = {"VersionId": version} if version else {}
    response = store.admin.delete_object(Bucket=REMOVED.bucket, Key=REMOVED.key, **options)
    return cast(str, response.get("VersionId"))


def test_removing_an_old_version_leaves_the_newest(store: ObjectStore, versions: list[str]) -> None:
    remove(store, versions[0])
    left = store.left_by(REMOVED)
    assert left is not None
    assert (left.version_id, left.size, left.content_type) == (versions[1], 6, "text/plain")
    assert (left.bucket, left.key, left.sequencer) == (REMOVED.bucket, REMOVED.key, REMOVED.sequencer)


def test_removing_the_newest_version_brings_the_one_before_it_back(store: ObjectStore, versions: list[str]) -> None:
    remove(store, versions[1])
    left = store.left_by(REMOVED)
    assert left is not None
    assert left.version_id == versions[0]


def test_a_delete_marker_leaves_nothing_until_it_is_removed_itself(store: ObjectStore, versions: list[str]) -> None:
    marker = remove(store)
    assert store.left_by(REMOVED) is None
    remove(store, marker)
    left = store.left_by(REMOVED)
    assert left is not None
    assert left.version_id == versions[1]


@pytest.mark.parametrize("status", ["Enabled", "Suspended", None])
def test_what_is_deleted_for_good_leaves_no_version(store: ObjectStore, status: str | None) -> None:
    store.bucket = f"artifacts-{status}".lower()
    store.admin.create_bucket(Bucket=store.bucket)
    store.put_stream("artifacts/1/a", io.BytesIO(b"before there were versions"), 26)
    if status:
        store.admin.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration={"Status": status})
    for body in (b"once", b"and again"):
        store.put_stream("artifacts/1/a", io.BytesIO(body), len(body))
    store.put_stream("artifacts/2/a", io.BytesIO(b"another's"), 9)
    store.delete_prefix("artifacts/1/")
    left = store.admin.list_object_versions(Bucket=store.bucket)
    assert [version["Key"] for version in left["Versions"]] == ["artifacts/2/a"]
    assert "DeleteMarkers" not in left


def test_where_there_is_no_bucket_nothing_is_left(store: ObjectStore) -> None:
    assert store.left_by(ObjectRemoved("nobodys", "incoming/a", "1")) is None


@pytest.mark.parametrize(
    ("left", "begun"),
    [(None, "departed"), (ObjectCreated("kept", "incoming/a b.txt", "17", etag="e", size=3), "arrived")],
)
def test_ingress_believes_the_bucket_more_than_the_removal(
    left: ObjectCreated | None, begun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ObjectEvent]] = []

    def note(name: str) -> Callable[..., list[StepRef]]:
        def begin(_connection: object, event: ObjectEvent, *_pipelines: object) -> list[StepRef]:
            seen.append((name, event))
            return []

        return begin

    monkeypatch.setattr(documents, "arrive", note("arrived"))
    monkeypatch.setattr(documents, "depart", note("departed"))
    database = cast(Database, SimpleNamespace(transaction=nullcontext))
    objects = cast(ObjectStore, SimpleNamespace(left_by=lambda _event: left))
    broker = FakeBroker()
    ingress = Ingress(database, objects, broker, Outbox(database, broker, lane_runs=1), Failpoints(""))
    ingress.handle([Delivery("s3.notifications", "webhook", BODY, {}, 1, 1)])
    (one,) = seen
    assert one[0] == begun
    assert (one[1].key, one[1].sequencer.lstrip("0")) == ("incoming/a b.txt", "17")
