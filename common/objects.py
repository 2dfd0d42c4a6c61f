"""The object store: what the chain reads and writes there, over minio-py; what is done once, over boto3.

minio-py costs half of boto3's time per call, which counts when documents are small. Errors of the store become ours
here, and every call has a timeout.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import IO, Any
from urllib.parse import SplitResult, urlsplit

import boto3
import minio
import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from minio.commonconfig import CopySource
from minio.error import MinioException, S3Error

from common import disk
from common.artifacts import pin_key
from common.context import Target
from common.errors import ConfigurationError, DiskFull, Rejected, Superseded, Unavailable
from common.events import ObjectCreated, ObjectRemoved, sequencer_at
from common.findings import Found, Gone, Listed, clock_of, found_of
from common.once import once
from common.records import Pin
from common.settings import Settings

_READ_BYTES = 256 * 1024
_BINARY = "application/octet-stream"
_GONE = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchObject"})
_UNSEEN = _GONE | {"NoSuchBucket", "AccessDenied"}
# Of an object that was encrypted with a key which the store was told and did not keep (SSE-C): any sender may do so.
_ENCRYPTED = "InvalidRequest"
_OVERWRITTEN = "The object was overwritten before it was read; its newer version has a task of its own."


class ObjectStore:
    """`bucket` is ours: uploads under incoming/, artifacts under artifacts/. Objects of other buckets can be pinned."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.opening = RLock()
        self.bucket = settings.bucket
        endpoint = store_url("BRIGADE_S3_ENDPOINT", settings.s3_endpoint)
        self._client = _client(settings, endpoint, settings.server_timeout_seconds)
        # minio-py takes no timeout for one call, and a store may be silent until the last byte is copied.
        self._copier = _client(settings, endpoint, settings.copy_timeout_seconds)

    def pin(self, target: Target, max_bytes: int) -> Pin:
        """Make the bytes of the target immutable to us: by version id, else by a copy that demands the ETag.

        Repeating it gives the same pin. Raises `Rejected` (FILE_TOO_LARGE, before anything is copied; OBJECT_GONE;
        OBJECT_ENCRYPTED) or `Superseded` when they are no longer there.
        """
        if target.version_id:
            pin = self._stat(target.bucket, target.key, target.version_id)
            demand_size(target.name, pin.size, max_bytes)
            return pin
        key = pin_key(target.task_id)
        try:
            found = self._stat(target.bucket, target.key, None)
            if target.etag and found.etag != target.etag:
                raise Superseded(_OVERWRITTEN)
        except (Rejected, Superseded) as lost:
            return self._earlier_copy(key, lost)
        demand_size(target.name, found.size, max_bytes)
        if not found.etag:  # JuiceFS's folders, as consoles make them
            raise Rejected(f"The store tells no ETag of {target.name}: it is no object.", code="NO_OBJECT")
        try:
            etag = self.copy(found, key)
        except (Rejected, Superseded) as lost:
            return self._earlier_copy(key, lost)
        # The same ETag, the same bytes: no need to ask for the copy's size.
        return Pin(self.bucket, key, etag=etag, size=found.size)

    def copy(self, source: Pin, key: str) -> str:
        """Have the store copy these bytes to `key` of our bucket. Returns the copy's ETag.

        Raises `Superseded` if others are there by now, `Rejected` if none are.
        """
        demanded = CopySource(bucket_name=source.bucket, object_name=source.key, match_etag=source.etag)
        with _translated("copying", source.key):
            # Over 5 GiB, S3's limit for one call, minio-py copies in parts, each of which demands the ETag.
            copy = self._copier.copy_object(bucket_name=self.bucket, object_name=key, source=demanded)
        return copy.etag or ""

    def _earlier_copy(self, key: str, lost: Rejected | Superseded) -> Pin:
        """What an earlier run copied while the object was still there; else raise `lost`."""
        try:
            return self._stat(self.bucket, key, None)
        except Rejected:
            raise lost from None

    def _stat(self, bucket: str, key: str, version_id: str | None) -> Pin:
        with _translated("reading", key):
            try:
                found = self._head(bucket, key, version_id)
            except S3Error as error:
                if error.code != _ENCRYPTED:
                    raise
                raise Rejected(
                    "The object is encrypted with a key that only its sender has. Upload it again, without a key.",
                    code="OBJECT_ENCRYPTED",
                ) from error
        return Pin(bucket, key, etag=found.etag or "", size=found.size or 0, version_id=version_id)

    def _head(self, bucket: str, key: str, version_id: str | None) -> Any:
        try:
            return self._client.stat_object(bucket_name=bucket, object_name=key, version_id=version_id)
        except S3Error as error:
            if error.code != "BadRequest":
                raise
            # What answers a HEAD has no body: only a GET is told what was wrong.
            with self._open(bucket, key, version_id, 0, 1):
                raise

    def left_by(self, event: ObjectRemoved) -> ObjectCreated | None:
        """What is under the key after a removal, told as an arrival; None if nothing is, or nothing that we may read.

        Where a bucket keeps versions, to remove an old one leaves the newest there, to remove the newest brings the
        one before it back, and so does to remove a delete marker. A store tells all of these in the same words.
        """
        found = self.look(event.bucket, event.key)
        if found is None:
            return None
        # It may also have been put there since, and its own event still be on its way.
        until = sequencer_at(found.written_until)
        return found.as_event(event.bucket, event.key, event.sequencer, until if until > event.sequencer else None)

    def look(self, bucket: str, key: str) -> Found | None:
        """What is under the key; None if nothing is, or nothing that we may read."""
        with _translated("looking for", key):
            try:
                return found_of(self._head(bucket, key, None))
            except S3Error as error:
                if error.code == _ENCRYPTED:
                    return self._by_listing(bucket, key)
                if error.code in _UNSEEN:
                    return None
                raise

    def ask(self, bucket: str, key: str) -> Found | Gone:
        """What is under the key, for who makes something of there being nothing: that only NoSuchKey says.

        Raises `Unavailable` for all else, such as no access to the bucket, or no bucket.
        """
        with _refusals("looking for", key):
            found = self.look(bucket, key)
            if found is not None:
                return found
            try:
                with self._open(bucket, key, None, 0, 1):
                    # Put there this moment; or one that cannot be read and is empty, so that no range of it can be.
                    raise Unavailable(f"The store contradicts itself about {key}.", server="store")
            except S3Error as error:
                if error.code not in _GONE:
                    raise
                return Gone(clock_of(error.response.headers))

    def _by_listing(self, bucket: str, key: str) -> Found | None:
        """What the listing tells of an object that tells nothing itself."""
        first = next(self.listed(bucket, key), None)
        return first.found if first is not None and first.key == key else None

    def listed(self, bucket: str, prefix: str, after: str | None = None) -> Iterator[Listed]:
        """The objects whose keys begin so, in the order of the store, from behind the key `after` on.

        Where the bucket keeps versions: the newest of each key, unless a delete marker hides it; not which it is. (A
        listing of versions tells, but SeaweedFS's leaves out keys where a page ends.) 1,000 a request.
        """
        with _refusals("listing", f"{bucket}/{prefix}"):
            for one in self._client.list_objects(bucket_name=bucket, prefix=prefix, recursive=True, start_after=after):
                yield Listed(one.object_name or "", found_of(one))

    def clock(self, bucket: str) -> datetime:
        """The store's time, in whole seconds."""
        with translated_boto(f"looking for the bucket {bucket}"):
            return clock_of(self.admin.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"])

    def is_empty(self, bucket: str) -> bool:
        """Whether the bucket holds nothing at all: no object, no version, no trace of one."""
        with _refusals("listing", bucket):
            versions = self._keeps_versions(bucket)
            found = self._client.list_objects(bucket_name=bucket, recursive=True, include_version=versions)
            return next(iter(found), None) is None

    def exists(self, key: str, *, bucket: str | None = None, version_id: str | None = None) -> bool:
        try:
            self._stat(bucket or self.bucket, key, version_id)
        except Rejected:
            return False
        return True

    def read_range(self, pin: Pin, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start` on."""
        length = min(length, pin.size - start)
        if length <= 0:
            return b""
        with _translated("reading", pin.key), self._open(pin.bucket, pin.key, pin.version_id, start, length) as body:
            return bytes(body.read(length))

    def stream(self, pin: Pin, start: int) -> Iterator[bytes]:
        """The pinned bytes from `start` on, in pieces, as they arrive. There must be some."""
        with _translated("reading", pin.key), self._open(pin.bucket, pin.key, pin.version_id, start) as body:
            yield from body.stream(_READ_BYTES)

    def download(self, pin: Pin, path: Path, check: Callable[[], None] = lambda: None) -> None:
        """Write the pinned bytes to a file, in constant memory. `check` is called in between, and may raise."""
        with (
            _translated("reading", pin.key),
            self._open(pin.bucket, pin.key, pin.version_id) as body,
            path.open("wb") as file,
        ):
            for part in body.stream(_READ_BYTES):
                check()
                file.write(part)

    def put_stream(self, key: str, stream: IO[bytes], size: int, bucket: str = "", content_type: str = _BINARY) -> None:
        """Write `size` bytes of the stream under `key`, of our bucket unless told, in constant memory."""
        where = {"bucket_name": bucket or self.bucket, "object_name": key}
        with _translated("writing", key):
            # minio-py asks io.BufferedIOBase of what it reads; a spooled file is one in all but name.
            self._client.put_object(**where, data=stream, length=size, content_type=content_type)  # type: ignore[arg-type]

    def lines(self, key: str, span: tuple[int, int] | None = None) -> Iterator[bytes]:
        """The lines of an object of our bucket, or of its bytes [first, last), as they arrive."""
        start, length = (span[0], span[1] - span[0]) if span else (0, 0)
        with _translated("reading", key), self._open(self.bucket, key, None, start, length) as body:
            rest = b""
            for part in body.stream(_READ_BYTES):
                *whole, rest = (rest + part).split(b"\n")
                yield from whole
            if rest:
                yield rest

    @contextmanager
    def _open(self, bucket: str, key: str, version_id: str | None, start: int = 0, length: int = 0) -> Iterator[Any]:
        response = self._client.get_object(
            bucket_name=bucket, object_name=key, version_id=version_id, offset=start, length=length
        )
        try:
            yield response
        finally:
            response.close()
            response.release_conn()

    def size_of_prefix(self, prefix: str) -> int:
        """The bytes of all objects of our bucket whose key begins so."""
        with _translated("measuring", prefix):
            found = self._client.list_objects(bucket_name=self.bucket, prefix=prefix, recursive=True)
            return sum(one.size or 0 for one in found)

    def delete_prefix(self, prefix: str, *, keep: Collection[str] = ()) -> None:
        """Delete all objects of our bucket whose key begins so, with every version that the bucket keeps of them.

        `keep`: keys that stay.
        """
        with _translated("deleting", prefix):
            versions = self._keeps_versions(self.bucket)
            # SeaweedFS leaves out versions where a page ends, so there it is over when nothing is listed any more.
            while self._delete_listed(prefix, keep, versions=versions) and versions:
                pass

    def _delete_listed(self, prefix: str, keep: Collection[str], *, versions: bool) -> int:
        """Returns how many there were."""
        count = 0
        found = self._client.list_objects(
            bucket_name=self.bucket, prefix=prefix, recursive=True, include_version=versions
        )
        for one in found:
            if one.object_name and one.object_name not in keep:
                version = {"VersionId": one.version_id} if one.version_id else {}
                with translated_boto(f"deleting {one.object_name}"):  # minio-py refuses names that the store may hold
                    self.admin.delete_object(Bucket=self.bucket, Key=one.object_name, **version)
                count += 1
        return count

    def _keeps_versions(self, bucket: str) -> bool:
        """Asked each time, as an operator may change it. A store without versions may not know the question."""
        try:
            return self._client.get_bucket_versioning(bucket_name=bucket).status in ("Enabled", "Suspended")
        except S3Error as error:
            if error.code == "NotImplemented":
                return False
            raise

    @once
    def admin(self) -> Any:
        """A boto3 client for what is done once: buckets, notification rules, CORS."""
        key, secret = self._settings.s3_access_key, self._settings.s3_secret_key
        return boto_client(self._settings, key.get_secret_value(), secret.get_secret_value())

    def ping(self) -> None:
        """Raise `Unavailable` unless the store answers and our bucket is there."""
        with _translated("looking for", self.bucket):
            if not self._client.bucket_exists(bucket_name=self.bucket):
                raise Unavailable(f"The store has no bucket {self.bucket!r}: run `brigade migrate`.", server="store")


def demand_size(name: str, size: int, max_bytes: int) -> None:
    """Raise `Rejected` (FILE_TOO_LARGE) if a document has more than `max_bytes`."""
    if size > max_bytes:
        raise Rejected(
            f"{name} has {size / (1 << 20):,.1f} MiB; documents may have {max_bytes / (1 << 20):,.1f} MiB "
            "(BRIGADE_MAX_DOCUMENT_BYTES).",
            code="FILE_TOO_LARGE",
        )


def store_url(variable: str, url: str) -> SplitResult:
    """Where a store is. Raises `ConfigurationError` naming the variable if that is no URL of one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
        raise ConfigurationError(f"{variable} must be an http or https URL without a path, not {url!r}.")
    return parts


def boto_client(settings: Settings, access_key: str, secret_key: str) -> Any:
    """boto3's view of the store, with this key."""
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=settings.server_timeout_seconds,
            retries={"total_max_attempts": 2},
            request_checksum_calculation="when_required",
        ),
    )


def _client(settings: Settings, endpoint: SplitResult, read_seconds: float) -> minio.Minio:
    secure = endpoint.scheme == "https"
    return minio.Minio(
        endpoint=endpoint.netloc,
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        secure=secure,
        region=settings.s3_region,
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=min(settings.server_timeout_seconds, 5), read=read_seconds),
            maxsize=settings.work_threads + 4,
            # One more try on a fresh connection; longer waits are the retry ladder's.
            retries=urllib3.Retry(total=1, backoff_factor=0.1, status_forcelist=()),
            ssl_context=ssl.create_default_context() if secure else None,
        ),
    )


@contextmanager
def _refusals(doing: str, key: str) -> Iterator[None]:
    """As `_translated`; that there is no such bucket is then no document's fault."""
    try:
        with _translated(doing, key):
            yield
    except Rejected as error:
        raise Unavailable(f"The store refused {doing} {key}: {error.message}", server="store") from error


@contextmanager
def _translated(doing: str, key: str) -> Iterator[None]:
    """The store's errors as ours."""
    try:
        yield
    except S3Error as error:
        if error.code in _GONE:
            raise Rejected(f"The object was deleted before it was read: {key}", code="OBJECT_GONE") from error
        if error.code == "PreconditionFailed":
            raise Superseded(_OVERWRITTEN) from error
        raise Unavailable(f"The store refused {doing} {key}: {error.code}: {error.message}", server="store") from error
    except ValueError as error:  # minio-py's word for names that no store can hold
        raise Rejected(f"No store can hold an object under this name: {key}: {error}", code="INVALID_NAME") from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        if isinstance(error, OSError) and disk.is_full(error):
            raise DiskFull(f"A disk became full while {doing} {key}: {error}") from error
        raise Unavailable(f"The store did not answer while {doing} {key}: {error}", server="store") from error


@contextmanager
def translated_boto(doing: str) -> Iterator[None]:
    """boto3's errors as ours, for what is done with `ObjectStore.admin`."""
    try:
        yield
    except ClientError as error:
        raise Unavailable(f"The store refused {doing}: {error}", server="store") from error
    except BotoCoreError as error:
        raise Unavailable(f"The store did not answer while {doing}: {error}", server="store") from error
