"""What a bucket's listing gives: every live object once, whatever versions and markers lie beneath."""

from __future__ import annotations

import secrets

import pytest

from common.errors import Unavailable
from common.findings import Found, Gone
from common.objects import ObjectStore

KEYS = ["incoming/a b+c%&<.txt", "incoming/a-b", "incoming/a/b", "incoming/水/😀"]


@pytest.fixture(params=["Enabled", "Suspended", None])
def bucket(store: ObjectStore, request: pytest.FixtureRequest) -> str:
    name = f"b-{secrets.token_hex(4)}"
    store.admin.create_bucket(Bucket=name)
    if request.param:
        store.admin.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": request.param})
    return name


def test_it_tells_the_newest_of_each_key_and_nothing_that_was_removed(store: ObjectStore, bucket: str) -> None:
    for body in (b"once", b"and again"):
        for key in [*KEYS, "incoming/removed", "elsewhere"]:
            store.admin.put_object(Bucket=bucket, Key=key, Body=body)
    store.admin.delete_object(Bucket=bucket, Key="incoming/removed")
    listed = list(store.listed(bucket, "incoming/"))
    assert [one.key for one in listed] == KEYS
    assert [one.key for one in store.listed(bucket, "incoming/", KEYS[1])] == KEYS[2:]
    for one in listed:
        asked = store.ask(bucket, one.key)
        assert isinstance(asked, Found)
        assert (one.found.etag, one.found.size) == (asked.etag, asked.size) == (asked.etag, 9)
        assert asked.written_at <= one.found.written_at < asked.written_until
        assert one.found.written_until <= asked.written_until
    assert isinstance(store.ask(bucket, "incoming/removed"), Gone)
    assert store.look(bucket, "incoming/removed") is None


def test_a_bucket_is_empty_when_not_even_a_trace_is_left(store: ObjectStore, bucket: str) -> None:
    assert store.is_empty(bucket)
    store.admin.put_object(Bucket=bucket, Key="artifacts/a", Body=b"")
    assert not store.is_empty(bucket)


def test_a_bucket_that_is_not_there_is_no_removal(store: ObjectStore) -> None:
    assert store.look("nobodys", "incoming/a") is None
    for ask in (
        lambda: store.ask("nobodys", "incoming/a"),
        lambda: list(store.listed("nobodys", "incoming/")),
        lambda: store.clock("nobodys"),
        lambda: store.is_empty("nobodys"),
    ):
        with pytest.raises(Unavailable):
            ask()
