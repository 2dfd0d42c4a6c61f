"""The object store's side of the chain, against moto's S3."""

from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from common import artifacts
from common.context import Target
from common.errors import ConfigurationError, DiskFull, Rejected, Superseded, Unavailable
from common.objects import ObjectStore
from common.records import Page, Pin
from common.settings import Settings


@pytest.fixture
def store(endpoint: str) -> ObjectStore:
    settings = Settings.model_validate(
        {"s3_endpoint": endpoint, "s3_access_key": "key", "s3_secret_key": "secret", "bucket": "ours"}
    )
    store = ObjectStore(settings)
    store.admin.create_bucket(Bucket="ours")
    return store


def put(store: ObjectStore, key: str, body: bytes) -> Target:
    """An object, and the target of a task for it."""
    etag = store.admin.put_object(Bucket="ours", Key=key, Body=body)["ETag"].strip('"')
    return Target("t1", "d1", 1, "kb", Path(key).name, "ours", key, etag)


def test_a_pin_keeps_its_bytes_whatever_happens_to_the_key(store: ObjectStore, tmp_path: Path) -> None:
    target = put(store, "incoming/a b+c/中文.txt", b"0123456789")
    pin = store.pin(target, 100)
    assert (pin.key, pin.size) == ("artifacts/t1/pin", 10)
    put(store, target.key, b"something else")
    store.download(pin, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"0123456789"
    assert store.read_range(pin, 2, 3) == b"234"
    assert store.read_range(pin, 8, 100) == b"89"
    assert store.read_range(pin, 10, 5) == b""


def test_a_full_disk_is_no_fault_of_the_store_nor_of_the_document(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = put(store, "incoming/full/full.txt", b"0123456789")
    with pytest.raises(DiskFull, match="A disk became full while reading"):
        store.download(store.pin(target, 100), Path("/dev/full"))

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda **_: io.FileIO("/dev/full", "r+"))
    with pytest.raises(DiskFull) as caught:
        artifacts.write(store, "artifacts/t1/X/0.jsonl", [Page(1, "text")], inline_bytes=1)
    assert caught.value.told == "The worker's disk is full."


def asked(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Fills with the method and the path of each request that minio-py sends from now on."""
    requests: list[tuple[str, str]] = []
    for client in (store._client, store._copier):
        send = client._http.urlopen

        def record(method: str, url: str, *, send: Any = send, **rest: Any) -> Any:
            requests.append((method, urlsplit(url).path))
            return send(method, url, **rest)

        monkeypatch.setattr(client._http, "urlopen", record)
    return requests


def test_an_object_over_the_limit_is_refused_before_it_is_copied(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = put(store, "incoming/large.txt", b"x" * 101)
    requests = asked(store, monkeypatch)
    with pytest.raises(Rejected, match=r"large.txt has .* MiB; documents may have .* MiB") as refused:
        store.pin(target, 100)
    assert refused.value.code == "FILE_TOO_LARGE"
    assert requests == [("HEAD", "/ours/incoming/large.txt")]


def test_a_version_over_the_limit_is_refused(store: ObjectStore) -> None:
    store.admin.create_bucket(Bucket="kept")
    store.admin.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    made = store.admin.put_object(Bucket="kept", Key="incoming/large", Body=b"x" * 101)
    target = Target("t5", "d5", 1, "kb", "v", "kept", "incoming/large", made["ETag"].strip('"'), made["VersionId"])
    with pytest.raises(Rejected) as refused:
        store.pin(target, 100)
    assert refused.value.code == "FILE_TOO_LARGE"


def test_to_pin_takes_three_requests(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    target = replace(put(store, "incoming/fresh.txt", b"fresh"), task_id="fresh")
    requests = asked(store, monkeypatch)
    store.pin(target, 100)
    # minio-py's copy looks for itself whether one call can copy so much.
    assert [method for method, _ in requests] == ["HEAD", "HEAD", "PUT"]


def test_an_overwritten_object_is_superseded_and_not_copied(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = replace(put(store, "incoming/old.txt", b"old"), task_id="old")
    put(store, target.key, b"new")
    requests = asked(store, monkeypatch)
    with pytest.raises(Superseded):
        store.pin(target, 100)
    assert "PUT" not in [method for method, _ in requests]


def test_a_copy_may_take_longer_than_other_calls(endpoint: str) -> None:
    store = ObjectStore(
        Settings.model_validate({"s3_endpoint": endpoint, "server_timeout_seconds": 7, "copy_timeout_seconds": 70})
    )
    waits = [client._http.connection_pool_kw["timeout"].read_timeout for client in (store._client, store._copier)]
    assert waits == [7, 70]


def test_a_pin_can_be_made_again_after_the_object_is_gone(store: ObjectStore) -> None:
    target = put(store, "incoming/once.txt", b"once")
    pin = store.pin(target, 100)
    store.admin.delete_object(Bucket="ours", Key=target.key)
    assert store.pin(target, 100) == pin


def test_an_object_that_is_gone_is_rejected_in_a_sentence(store: ObjectStore) -> None:
    target = Target("t9", "d9", 1, "kb", "x", "ours", "incoming/never", "etag")
    with pytest.raises(Rejected, match="deleted before it was read") as refused:
        store.pin(target, 100)
    assert refused.value.code == "OBJECT_GONE"


def test_a_versioned_object_is_pinned_by_its_version(store: ObjectStore) -> None:
    store.admin.create_bucket(Bucket="versioned")
    store.admin.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    first = store.admin.put_object(Bucket="versioned", Key="incoming/v", Body=b"one")
    store.admin.put_object(Bucket="versioned", Key="incoming/v", Body=b"second")
    etag, version = first["ETag"].strip('"'), first["VersionId"]
    pin = store.pin(Target("t2", "d2", 1, "kb", "v", "versioned", "incoming/v", etag, version), 100)
    assert pin == Pin("versioned", "incoming/v", etag, 3, version)
    assert store.read_range(pin, 0, 10) == b"one"


def test_a_large_artifact_comes_back_whole_and_in_shares(store: ObjectStore) -> None:
    pages = [Page(number, "Zeile\r\n\u2028 中文 " * 300) for number in range(1, 400)]
    written = artifacts.write(store, "artifacts/t3/X/0.jsonl", iter(pages), inline_bytes=1000, cut_records=100)
    assert written.artifact.key == "artifacts/t3/X/0.jsonl"
    assert list(artifacts.read(store, [written.artifact], Page)) == pages
    assert len(written.cuts) == 4
    spans = zip((0, *written.cuts), written.cuts, strict=False)
    shares = [artifacts.Artifact(key=written.artifact.key, span=span) for span in spans]
    assert [len(list(artifacts.read(store, [share], Page))) for share in shares] == [100, 100, 100, 99]
    assert list(artifacts.read(store, shares, Page)) == pages


def test_a_small_artifact_needs_no_store(store: ObjectStore) -> None:
    written = artifacts.write(store, "k", iter([Page(1, "a"), Page(2, "b")]), inline_bytes=1000, cut_records=1)
    assert written.artifact.key is None
    assert written.artifact.inline is not None
    second = artifacts.Artifact(inline=written.artifact.inline, span=(written.cuts[0], written.cuts[1]))
    assert list(artifacts.read(store, [second], Page)) == [Page(2, "b")]


def test_no_records_make_one_empty_share(store: ObjectStore) -> None:
    written = artifacts.write(store, "k", iter(()), inline_bytes=1000, cut_records=10)
    assert written.cuts == (0,)
    empty = artifacts.Artifact(inline=b"", span=(0, 0))
    assert list(artifacts.read(store, [empty], Page)) == []


def test_all_under_a_prefix_is_deleted_and_nothing_else(store: ObjectStore) -> None:
    for key in ("artifacts/t4/a", "artifacts/t4/b/c", "artifacts/t44/a"):
        store.put_stream(key, io.BytesIO(b"x"), 1)
    store.delete_prefix("artifacts/t4/")
    assert [store.exists(key) for key in ("artifacts/t4/a", "artifacts/t4/b/c", "artifacts/t44/a")] == [
        False,
        False,
        True,
    ]


def test_a_store_that_is_down_is_unavailable_and_says_so(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"s3_endpoint": "http://127.0.0.1:1", "s3_access_key": "k", "s3_secret_key": "s"}
    )
    store = ObjectStore(settings)
    with pytest.raises(Unavailable, match="did not answer"):
        store.ping()
    with pytest.raises(Unavailable):
        store.download(Pin("bucket", "k", "e", 1), tmp_path / "file")


def test_a_bucket_that_is_missing_is_named(endpoint: str) -> None:
    settings = Settings.model_validate(
        {"s3_endpoint": endpoint, "s3_access_key": "k", "s3_secret_key": "s", "bucket": "nowhere"}
    )
    with pytest.raises(Unavailable, match="no bucket 'nowhere': run `brigade migrate`"):
        ObjectStore(settings).ping()


def test_an_endpoint_that_is_no_url_is_a_clear_error() -> None:
    with pytest.raises(ConfigurationError, match="BRIGADE_S3_ENDPOINT must be"):
        ObjectStore(Settings.model_validate({"s3_endpoint": "minio:9000"}))


@pytest.mark.parametrize("bucket", ["", "b", "../etc", "a b"])
def test_a_bucket_that_cannot_be_is_the_documents_own_fault(store: ObjectStore, bucket: str) -> None:
    with pytest.raises(Rejected) as refused:
        store.pin(Target("t8", "d8", 1, "kb", "x", bucket, "incoming/x", "etag"), 100)
    assert refused.value.code == "INVALID_NAME"


def test_versions_that_a_listing_leaves_out_are_deleted_all_the_same(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SeaweedFS does where a page ends."""
    bucket = {"Bucket": "ours"}
    store.admin.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Enabled"})
    for name in ("p/a", "p/a", "p/b"):
        put(store, name, b"x")
    whole = store._client.list_objects
    monkeypatch.setattr(store._client, "list_objects", lambda **options: list(whole(**options))[:1])
    store.admin.put_object(Bucket="ours", Key="p/a/../b", Body=b"x")  # minio-py would not ask for it
    store.delete_prefix("p/")
    assert "Versions" not in store.admin.list_object_versions(**bucket, Prefix="p/")
    store.admin.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Suspended"})


def test_a_folder_that_has_no_etag_is_said_to_be_no_object(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As JuiceFS has them."""
    monkeypatch.setattr(store, "_head", lambda *_: SimpleNamespace(etag=None, size=0))
    with pytest.raises(Rejected, match="folder/: it is no object") as refused:
        store.pin(Target("t9", "d9", 1, "kb", "folder/", "ours", "incoming/folder/", ""), 100)
    assert refused.value.code == "NO_OBJECT"
