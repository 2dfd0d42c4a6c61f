"""The store's side of multipart uploads, against moto's S3."""

from __future__ import annotations

import pytest

from common.errors import Conflict, Unavailable
from common.multipart import MIN_PART_BYTES, Multipart, UploadGone
from common.objects import ObjectStore
from common.settings import Settings

KEY = "incoming/d/a b+中文.bin"


def store_at(endpoint: str) -> ObjectStore:
    given = {"s3_endpoint": endpoint, "s3_access_key": "key", "s3_secret_key": "secret", "bucket": "ours"}
    return ObjectStore(Settings.model_validate(given))


@pytest.fixture
def store(endpoint: str) -> ObjectStore:
    store = store_at(endpoint)
    store.admin.create_bucket(Bucket="ours")
    return store


def send(store: ObjectStore, upload_id: str, number: int, body: bytes) -> None:
    store.admin.upload_part(Bucket="ours", Key=KEY, UploadId=upload_id, PartNumber=number, Body=body)


def test_parts_that_came_make_the_object(store: ObjectStore) -> None:
    multipart = Multipart(store)
    upload_id = multipart.begin(KEY, "text/plain")
    assert multipart.parts(KEY, upload_id) == []
    send(store, upload_id, 2, b"end")
    send(store, upload_id, 1, b"x" * MIN_PART_BYTES)
    parts = multipart.parts(KEY, upload_id)
    assert [(part.number, part.size) for part in parts] == [(1, MIN_PART_BYTES), (2, 3)]
    assert not parts[0].etag.startswith('"')
    assert [(one.key, one.upload_id) for one in multipart.open("incoming/")] == [(KEY, upload_id)]
    multipart.complete(KEY, upload_id, parts)
    assert store.admin.head_object(Bucket="ours", Key=KEY)["ContentType"] == "text/plain"
    assert list(multipart.open("incoming/")) == []
    with pytest.raises(UploadGone):
        multipart.parts(KEY, upload_id)


def test_an_upload_can_be_aborted_again_and_again(store: ObjectStore) -> None:
    multipart = Multipart(store)
    upload_id = multipart.begin(KEY, "text/plain")
    for _ in range(2):
        multipart.abort(KEY, upload_id)
    with pytest.raises(UploadGone) as caught:
        multipart.parts(KEY, upload_id)
    assert caught.value.status == 409


def test_parts_that_the_store_does_not_take_are_the_clients_conflict(store: ObjectStore) -> None:
    multipart = Multipart(store)
    upload_id = multipart.begin(KEY, "text/plain")
    for number in (1, 2):
        send(store, upload_id, number, b"too small")
    with pytest.raises(Conflict) as caught:
        multipart.complete(KEY, upload_id, multipart.parts(KEY, upload_id))
    assert caught.value.code == "PARTS_REFUSED"


def test_a_store_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        Multipart(store_at("http://127.0.0.1:9")).begin(KEY, "text/plain")
