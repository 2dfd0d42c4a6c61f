"""What the checks are given: buckets of their own, or one prefix of a bucket that is there. Nothing of it stays."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from secrets import token_hex
from threading import current_thread, main_thread

import httpx
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from pydantic import SecretStr

from common.errors import Unavailable
from common.multipart import Multipart
from common.objects import ObjectStore, translated_boto
from common.presigner import Presigner
from common.settings import Settings
from deploy.buckets import make_bucket
from deploy.signing_key import NotMade, make_key, remove_key, upload_policy
from deploy.store_checks.ground import Ground

# How everything is named that the checks make: buckets, prefixes, keys.
OURS = "brigade-check-"
_MOST_LAYERS = 5
_PAUSES = (0.2, 1.0)  # seconds, between tries to remove a key
_NO_KEY = {"s3_signing_access_key": SecretStr(""), "s3_signing_secret_key": SecretStr("")}


@dataclass(frozen=True, slots=True)
class Trial:
    """`own`: the buckets are ours. `versioned` is None where the store keeps no versions; `no_versions` says why."""

    plain: Ground
    versioned: Ground | None
    no_versions: str
    own: bool


@contextmanager
def trial(settings: Settings, bucket: str = "") -> Iterator[Trial]:
    """Make what the checks need; take it away however they end, by Ctrl-C, SIGTERM or an error too.

    `bucket`: one that is there, of which a prefix is used; empty: two are made. Raises `Unavailable` where the store
    does not answer, or refuses that.
    """
    name = f"{OURS}{token_hex(6)}"
    with _interruptible(), ExitStack() as stack:
        http = stack.enter_context(httpx.Client(timeout=settings.server_timeout_seconds, trust_env=False))
        made = _within(stack, settings, bucket, name, http) if bucket else _own(stack, settings, name, http)
        stack.callback(_deaf)
        yield made


def _own(stack: ExitStack, settings: Settings, name: str, http: httpx.Client) -> Trial:
    grounds = []
    for bucket in (name, f"{name}-versions"):
        ground = _ground(stack, settings, bucket, "incoming/", name, http)
        stack.callback(_remove_bucket, ground)
        try:
            make_bucket(ground.objects, settings.s3_region)
        except Unavailable as refusal:
            raise Unavailable(f"{refusal.message} `--bucket NAME` checks in a bucket that is there.") from refusal
        grounds.append(ground)
    plain, versioned = grounds
    try:
        versioned.objects.admin.put_bucket_versioning(
            Bucket=versioned.bucket, VersioningConfiguration={"Status": "Enabled"}
        )
    except ClientError as error:
        return Trial(plain, None, f"the store keeps no versions ({error.response['Error']['Code']})", own=True)
    return Trial(plain, versioned, "", own=True)


def _within(stack: ExitStack, settings: Settings, bucket: str, name: str, http: httpx.Client) -> Trial:
    # Not under incoming/: a system that listens there would take what we put for documents.
    ground = _ground(stack, settings, bucket, f"{name}/", name, http)
    keeps = ""
    with translated_boto(f"looking at the bucket {bucket}"):
        ground.objects.admin.head_bucket(Bucket=bucket)
        stack.callback(_clear, ground, f"{name}/", f"artifacts/{name}")
        try:
            keeps = ground.objects.admin.get_bucket_versioning(Bucket=bucket).get("Status", "")
        except ClientError as error:
            if error.response["Error"]["Code"] != "NotImplemented":
                raise
    if keeps != "Enabled":
        return Trial(ground, None, f"the bucket {bucket} keeps no versions", own=False)
    return Trial(ground, ground, "", own=False)


def _ground(stack: ExitStack, settings: Settings, bucket: str, prefix: str, name: str, http: httpx.Client) -> Ground:
    settings = settings.model_copy(update={"bucket": bucket} | _NO_KEY)
    key, why = _restricted_key(stack, settings, prefix)
    if key is not None:
        names = {"s3_signing_access_key": key.access_key, "s3_signing_secret_key": key.secret_key}
        settings = settings.model_copy(update={name: SecretStr(value) for name, value in names.items()})
    objects = ObjectStore(settings)
    stack.callback(objects.admin.close)
    return Ground(settings, objects, Presigner(settings), Multipart(objects), http, prefix, name, key, why)


def _restricted_key(stack: ExitStack, settings: Settings, prefix: str) -> tuple[Credentials | None, str]:
    """A key that may upload to the prefix and do nothing else, or why the store makes none."""
    key = Credentials(f"{OURS}{token_hex(6)}", token_hex(16))
    made: list[Credentials] = []
    stack.callback(_remove_key, settings, key, made)
    try:
        make_key(settings, key, upload_policy(settings.bucket, prefix), name=key.access_key)
    except NotMade as error:
        return None, error.message
    made.append(key)
    return key, ""


def _remove_key(settings: Settings, key: Credentials, made: list[Credentials]) -> None:
    for pause in (*_PAUSES, None):
        try:
            remove_key(settings, key, name=key.access_key)
        except NotMade:
            if pause is not None:  # a store that is still making it removes it a moment later
                time.sleep(pause)
            elif made:  # else it is only said once more that the store makes none
                raise
        else:
            return


def _remove_bucket(ground: Ground) -> None:
    with translated_boto(f"removing the bucket {ground.bucket}"):
        try:
            ground.objects.admin.head_bucket(Bucket=ground.bucket)
        except ClientError:  # it was never made
            return
        _clear(ground, "")
        ground.objects.admin.delete_bucket(Bucket=ground.bucket)


def _clear(ground: Ground, *prefixes: str) -> None:
    assert all(prefixes) or ground.bucket.startswith(OURS), "this bucket is not ours to empty"
    # In the order of a stack, from its end: what one of them raises comes after all have been tried.
    with ExitStack() as tries:
        for prefix in reversed(prefixes):
            tries.callback(_clear_prefix, ground, prefix)
        for key, upload_id in reversed(ground.begun):
            tries.callback(ground.multipart.abort, key, upload_id)


def _clear_prefix(ground: Ground, prefix: str) -> None:
    # MinIO shows what is below an object only when that is gone.
    for _ in range(_MOST_LAYERS):
        ground.objects.delete_prefix(prefix)
        if ground.is_empty(prefix):
            break


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends us as Ctrl-C does, and both do wherever we were started: with what we made taken away."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _deaf() -> None:
    """What is taken away now is not to be left half done by a second Ctrl-C."""
    if current_thread() is main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
