"""Presigned uploads at a real store: what was announced is taken, all else refused; the key can do nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import botocore.auth
import httpx
import pytest
from botocore.exceptions import ClientError
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin
from pydantic import SecretStr
from structlog.testing import capture_logs

from common.objects import ObjectStore, boto_client
from common.presigner import Presigner
from common.settings import Settings
from deploy.signing_key import ensure_signing_key

pytestmark = pytest.mark.integration

KEY = "incoming/d1/报告 1.txt"
BODY = b"0123456789"
TEXT = "text/plain"
NO_KEY = dict.fromkeys(("s3_signing_access_key", "s3_signing_secret_key"), SecretStr(""))


@dataclass(frozen=True)
class Store:
    settings: Settings
    objects: ObjectStore
    presigner: Presigner
    key: Any
    """boto3 with the key that signs."""

    def with_main_key(self) -> Presigner:
        return Presigner(self.settings.model_copy(update=NO_KEY))

    def put(self, presigner: Presigner | None = None, key: str = KEY) -> tuple[str, dict[str, str]]:
        return (presigner or self.presigner).put(key, size=len(BODY), content_type=TEXT, seconds=60)

    def holds(self, key: str, bucket: str | None = None) -> bytes:
        return bytes(self.objects.admin.get_object(Bucket=bucket or self.objects.bucket, Key=key)["Body"].read())


def own_key(settings: Settings) -> Settings:
    """With a key of this bucket's own: the system under test goes on using the session's."""
    name = settings.bucket.replace("test", "key")
    return Settings(s3_signing_access_key=SecretStr(name), s3_signing_secret_key=SecretStr(f"secret-of-{name}"))


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    settings = own_key(settings)
    objects = ObjectStore(settings)
    assert ensure_signing_key(objects, settings)
    access, secret = settings.s3_signing_access_key, settings.s3_signing_secret_key
    client = boto_client(settings, access.get_secret_value(), secret.get_secret_value())
    yield Store(settings, objects, Presigner(settings), client)
    client.close()


def refused(attempt: Callable[..., Any], **parameters: str | bytes) -> bool:
    with pytest.raises(ClientError) as error:
        attempt(**parameters)
    return bool(error.value.response["Error"]["Code"] == "AccessDenied")


def test_what_was_announced_is_taken(store: Store) -> None:
    url, headers = store.put()
    assert httpx.put(url, content=BODY, headers=headers).status_code == 200
    assert store.holds(KEY) == BODY


def test_a_copy_slipped_into_an_upload_succeeds_with_the_main_key_and_is_refused_with_ours(store: Store) -> None:
    """CVE-2026-97731: the header is not signed, and need not be."""
    store.objects.put_stream("artifacts/secret", BytesIO(b"of another"), 10)
    steal = {"x-amz-copy-source": f"/{store.objects.bucket}/artifacts/secret"}
    answers = []
    for presigner in (store.with_main_key(), store.presigner):
        url, headers = store.put(presigner)
        answers.append(httpx.put(url, content=BODY, headers=headers | steal).status_code)
    assert answers == [200, 403]


def test_a_copy_slipped_into_a_part_is_refused(store: Store) -> None:
    store.objects.put_stream("artifacts/secret", BytesIO(b"of another"), 10)
    upload = store.objects.admin.create_multipart_upload(Bucket=store.objects.bucket, Key=KEY)["UploadId"]
    url = store.presigner.part(KEY, upload, 1, size=len(BODY), seconds=60)
    steal = {"x-amz-copy-source": f"/{store.objects.bucket}/artifacts/secret"}
    assert httpx.put(url, content=BODY, headers=steal).status_code == 403


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (BODY + b"x", {}),
        (BODY[1:], {}),
        (b"", {}),
        (BODY, {"Content-Type": "text/html"}),
        (BODY, {"Content-Type": ""}),
    ],
    ids=["larger", "smaller", "empty", "another type", "no type"],
)
def test_a_put_of_anything_else_is_refused(store: Store, body: bytes, changed: dict[str, str]) -> None:
    url, headers = store.put()
    sent = headers | {"Content-Length": str(len(body))} | changed
    assert httpx.put(url, content=body, headers=sent).status_code == 403


def test_a_put_to_another_key_or_bucket_or_later_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    url, headers = store.put()
    another_key = url.replace("/d1/", "/d2/")
    another_bucket = url.replace(f"/{store.objects.bucket}/", "/brigade/")
    now = botocore.auth.get_current_datetime()
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: now - timedelta(seconds=61))
    expired, _ = store.put()
    longer = expired.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    for changed in (another_key, another_bucket, expired, longer):
        assert httpx.put(changed, content=BODY, headers=headers).status_code == 403


def test_a_url_signed_for_elsewhere_is_refused(store: Store) -> None:
    outside, headers = store.put(key="artifacts/a")
    assert httpx.put(outside, content=BODY, headers=headers).status_code == 403
    store.objects.admin.create_bucket(Bucket=f"{store.objects.bucket}-2")
    elsewhere = Presigner(store.settings.model_copy(update={"bucket": f"{store.objects.bucket}-2"}))
    url, headers = store.put(elsewhere)
    assert httpx.put(url, content=BODY, headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("changed", "content", "status"),
    [
        ({}, BODY, 204),
        ({}, BODY + b"x", 400),
        ({}, BODY[1:], 400),
        ({"key": "incoming/d2/a.txt"}, BODY, 403),
        ({"Content-Type": "text/html"}, BODY, 403),
        ({"x-amz-meta-more": "1"}, BODY, 403),
    ],
    ids=["as announced", "larger", "smaller", "another key", "another type", "another field"],
)
def test_a_form_takes_exactly_what_was_announced(
    store: Store, changed: dict[str, str], content: bytes, status: int
) -> None:
    url, fields = store.presigner.post(KEY, size=len(BODY), content_type=TEXT, seconds=60)
    answer = httpx.post(url, data=fields | changed, files={"file": ("a.txt", content)})
    assert answer.status_code == status
    assert (status == 204) is (store.objects.exists(KEY) and store.holds(KEY) == BODY)


def test_a_part_takes_exactly_its_size_and_number(store: Store) -> None:
    bucket, admin = store.objects.bucket, store.objects.admin
    upload = admin.create_multipart_upload(Bucket=bucket, Key=KEY, ContentType=TEXT)["UploadId"]
    url = store.presigner.part(KEY, upload, 1, size=len(BODY), seconds=60)
    assert httpx.put(url, content=BODY + b"x").status_code == 403
    assert httpx.put(url.replace("partNumber=1", "partNumber=2"), content=BODY).status_code == 403
    etag = httpx.put(url, content=BODY).headers["ETag"]
    assert [part["PartNumber"] for part in admin.list_parts(Bucket=bucket, Key=KEY, UploadId=upload)["Parts"]] == [1]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    admin.complete_multipart_upload(Bucket=bucket, Key=KEY, UploadId=upload, MultipartUpload=parts)
    assert store.holds(KEY) == BODY


def test_a_download_has_the_documents_name_and_its_type(store: Store) -> None:
    store.objects.put_stream(KEY, BytesIO(BODY), len(BODY))
    url = store.presigner.get(
        store.objects.bucket, KEY, version_id=None, filename="年度\r\n报告.txt", content_type=TEXT, seconds=60
    )
    answer = httpx.get(url)
    assert answer.content == BODY
    assert answer.headers["Content-Type"] == TEXT
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"____.txt\"; filename*=UTF-8''%E5%B9%B4%E5%BA%A6%E6%8A%A5%E5%91%8A.txt"
    )
    assert httpx.get(url.replace("text%2Fplain", "text%2Fhtml")).status_code == 403


def test_the_key_itself_can_neither_list_nor_read_nor_delete(store: Store) -> None:
    bucket = store.objects.bucket
    for key in (KEY, "artifacts/a"):
        store.objects.put_stream(key, BytesIO(BODY), len(BODY))
        assert refused(store.key.get_object, Bucket=bucket, Key=key)
        assert refused(store.key.delete_object, Bucket=bucket, Key=key)
    assert refused(store.key.list_objects_v2, Bucket=bucket)
    assert refused(store.key.list_multipart_uploads, Bucket=bucket)
    assert refused(store.key.put_object, Bucket=bucket, Key="artifacts/a", Body=b"")
    assert refused(store.key.put_bucket_policy, Bucket=bucket, Policy="{}")


def test_making_the_key_again_changes_nothing_and_leaves_nothing_behind(store: Store) -> None:
    with capture_logs() as said:
        assert ensure_signing_key(store.objects, store.settings)
    assert said == []
    assert "Contents" not in store.objects.admin.list_objects_v2(Bucket=store.objects.bucket)
    assert "Uploads" not in store.objects.admin.list_multipart_uploads(Bucket=store.objects.bucket)


def test_a_new_secret_takes_the_place_of_the_old(store: Store) -> None:
    changed = store.settings.model_copy(update={"s3_signing_secret_key": store.settings.s3_secret_key})
    assert ensure_signing_key(store.objects, changed)
    url, headers = store.put()
    assert httpx.put(url, content=BODY, headers=headers).status_code == 403
    url, headers = store.put(Presigner(changed))
    assert httpx.put(url, content=BODY, headers=headers).status_code == 200


def test_a_user_of_others_is_left_alone_and_said_to_be_too_powerful(settings: Settings) -> None:
    settings = own_key(settings)
    secret = settings.s3_secret_key.get_secret_value()
    user = settings.s3_signing_access_key.get_secret_value()
    admin = MinioAdmin(
        endpoint=urlsplit(settings.s3_endpoint).netloc,
        credentials=StaticProvider(settings.s3_access_key.get_secret_value(), secret),
        secure=False,
    )
    admin.user_add(user, settings.s3_signing_secret_key.get_secret_value())
    admin.policy_set("readonly", user=user)
    with capture_logs() as said:
        assert not ensure_signing_key(ObjectStore(settings), settings)
    assert [line["event"] for line in said] == [
        "signing_key.not_made",
        "signing_key.useless",
        "signing_key.too_powerful",
    ]
    admin.policy_set("readwrite", user=user)
    with capture_logs() as said:
        assert not ensure_signing_key(ObjectStore(settings), settings)
    (line,) = said
    assert (line["event"], line["may"]) == (
        "signing_key.too_powerful",
        ["delete", "list", "overwrite", "read", "read uploads"],
    )
