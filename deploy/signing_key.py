"""The key that signs uploads: made where the store is a MinIO, and tried, wherever it comes from.

A signature does not cover the headers that a client adds, so this key must be able to write under incoming/ and to do
nothing else; see common/presigner.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from secrets import token_hex
from typing import Any

import structlog
import urllib3
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin

from common.errors import BrigadeError
from common.objects import ObjectStore, boto_client, store_url, translated_boto
from common.presigner import signing_key
from common.settings import Settings

log = structlog.get_logger()

_INCOMING = "incoming/"
# Where nobody listens for events.
_PROBES = "artifacts/signing-key-probe-"
_NO_API = "The store has no admin API of MinIO's."
_BY_HAND = "Make a key with this policy at the store, and name it in BRIGADE_S3_SIGNING_ACCESS_KEY and _SECRET_KEY."


class NotMade(BrigadeError):
    """The store did not make the key."""


def ensure_signing_key(objects: ObjectStore, settings: Settings) -> bool:
    """Make the key that the settings name, unless it is there, and try what it may do.

    Returns whether it may do what it must and nothing else. If not, a warning says what to do: not every store can
    make such a key, and a system without one still works. Raises `Unavailable` if the store does not answer.
    """
    policy = upload_policy(settings.bucket)
    key = signing_key(settings)
    if key is None:
        log.warning("signing_key.missing", risk="Uploads are signed with the main key.", hint=_BY_HAND, policy=policy)
        return False
    may = powers(objects, settings, key)
    if "upload" not in may:
        try:
            make_key(settings, key, policy, name=f"{settings.bucket}-uploads")
        except NotMade as error:
            log.warning("signing_key.not_made", reason=error.message, hint=_BY_HAND, policy=policy)
        else:
            log.info("signing_key.made", access_key=key.access_key)
            may = powers(objects, settings, key)
    if "upload" not in may:
        log.error("signing_key.useless", access_key=key.access_key, risk="The store will refuse every upload.")
    if excess := sorted(may - {"upload"}):
        log.error(
            "signing_key.too_powerful",
            access_key=key.access_key,
            may=excess,
            risk="Who gets an upload URL may copy what this key may read.",
            hint="At the store, give it this policy and no other.",
            policy=policy,
        )
    return may == {"upload"}


def upload_policy(bucket: str, prefix: str = _INCOMING) -> str:
    """What the key may do, in the words of S3's policies."""
    actions = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    statement = {"Effect": "Allow", "Action": actions, "Resource": [f"arn:aws:s3:::{bucket}/{prefix}*"]}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def make_key(settings: Settings, key: Credentials, policy: str, *, name: str) -> None:
    """Make the key with this policy, by MinIO's admin API; the policy is known by that name.

    Whatever answers otherwise than a MinIO is sent nothing that it might take for an object. Raises `NotMade`.
    """
    with _admin(settings) as admin:
        if _policies(admin, key.access_key) - {name}:
            raise NotMade(f"The store has a user {key.access_key!r} already, with policies that are not ours.")
        admin.policy_add(name, policy=json.loads(policy))
        admin.user_add(key.access_key, key.secret_key)
        admin.policy_set(name, user=key.access_key)


def remove_key(settings: Settings, key: Credentials, *, name: str) -> None:
    """Remove a key that was made, and its policy, also where only one of them is there. Raises `NotMade`."""
    try:
        with _admin(settings) as admin:
            admin.user_remove(key.access_key)
    finally:
        with _admin(settings) as admin:
            admin.policy_remove(name)


@contextmanager
def _admin(settings: Settings) -> Iterator[MinioAdmin]:
    endpoint = store_url("BRIGADE_S3_ENDPOINT", settings.s3_endpoint)
    http = urllib3.PoolManager(timeout=settings.server_timeout_seconds, retries=False)
    try:
        yield MinioAdmin(
            endpoint=endpoint.netloc,
            credentials=StaticProvider(
                settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value()
            ),
            region=settings.s3_region,
            secure=endpoint.scheme == "https",
            http_client=http,
        )
    except MinioAdminException as error:
        raise NotMade(f"The store refused: {_answer(error)}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise NotMade(f"The store's admin API did not answer: {error}") from error
    finally:
        http.clear()


def _policies(admin: MinioAdmin, user: str) -> set[str]:
    """The names of a user's policies; none if there is no such user. Raises `NotMade` if that is no MinIO."""
    try:
        found = json.loads(admin.user_info(user))
    except MinioAdminException as error:
        if "XMinioAdminNoSuchUser" in str(error):
            return set()
        if "NoSuchBucket" in str(error):  # it takes the API's address for an object's
            raise NotMade(_NO_API) from error
        raise
    except ValueError:
        found = None
    if not isinstance(found, dict) or "status" not in found:
        raise NotMade(_NO_API)
    return set(filter(None, found.get("policyName", "").split(",")))


def _answer(error: MinioAdminException) -> str:
    return " ".join(str(error).split())[:300]


def powers(objects: ObjectStore, settings: Settings, key: Credentials, prefix: str = _INCOMING) -> set[str]:
    """What the key may do: "upload" under the prefix, and whatever else. One that is not known may do nothing."""
    client = boto_client(settings, key.access_key, key.secret_key)
    probe = f"{_PROBES}{token_hex(8)}"
    bucket = objects.bucket
    attempts: dict[str, Callable[[], Any]] = {
        "upload": lambda: _begin_upload(client, bucket, prefix),
        "list": lambda: client.list_objects_v2(Bucket=bucket, MaxKeys=1),
        "read": lambda: _read(client, bucket, probe),
        "read uploads": lambda: _read(client, bucket, _some_upload(objects, prefix)),
        "overwrite": lambda: client.put_object(Bucket=bucket, Key=probe, Body=b""),
        "delete": lambda: client.delete_object(Bucket=bucket, Key=probe),
    }
    objects.put_stream(probe, BytesIO(b"probe"), 5)
    try:
        with translated_boto("a look at what the key that signs uploads may do"):
            return {what for what, attempt in attempts.items() if _is_allowed(attempt)}
    finally:
        objects.delete_prefix(probe)


def _begin_upload(client: Any, bucket: str, prefix: str) -> None:
    """What writing needs, without an object that somebody would take for a document."""
    key = f"{prefix}signing-key-probe"
    upload_id = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.list_parts(Bucket=bucket, Key=key, UploadId=upload_id)
    client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)


def _read(client: Any, bucket: str, key: str) -> None:
    client.get_object(Bucket=bucket, Key=key)["Body"].close()


def _some_upload(objects: ObjectStore, prefix: str) -> str:
    """The key of an upload; where there is none, one that a store says is missing only to who may read it."""
    found = objects.admin.list_objects_v2(Bucket=objects.bucket, Prefix=prefix, MaxKeys=1).get("Contents", [])
    return str(found[0]["Key"]) if found else f"{prefix}signing-key-probe"


def _is_allowed(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status in (401, 403):
            return False
        if status == 404:  # it was let look
            return True
        raise
    return True
