"""The store's side of multipart uploads. Clients put the parts, with URLs of common/presigner.py; the rest is ours.

The store keeps the parts that came, so an upload can be gone on with by whoever asks what has arrived.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from botocore.exceptions import ClientError

from common.errors import Conflict
from common.objects import ObjectStore, translated_boto

# What S3 takes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MIN_PART_BYTES = 5 << 20  # but for the last
MAX_PARTS = 10_000

_PARTS_WRONG = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is in the store. `etag` without quotes."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class OpenUpload:
    key: str
    upload_id: str
    begun_at: datetime


class UploadGone(Conflict):
    """The store knows this upload no more: it was finished, or aborted."""

    code = "UPLOAD_GONE"


class Multipart:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def begin(self, key: str, content_type: str) -> str:
        """The id of a new upload."""
        with _translated("beginning an upload"):
            answer = self._store.admin.create_multipart_upload(
                Bucket=self._store.bucket, Key=key, ContentType=content_type
            )
        return str(answer["UploadId"])

    def parts(self, key: str, upload_id: str) -> list[Part]:
        """What has arrived, by number. Raises `UploadGone`."""
        with _translated("listing an upload's parts"):
            pages = self._store.admin.get_paginator("list_parts").paginate(
                Bucket=self._store.bucket, Key=key, UploadId=upload_id
            )
            found = [part for page in pages for part in page.get("Parts", [])]
        return [Part(one["PartNumber"], one["Size"], one["ETag"].strip('"')) for one in found]

    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Make the object of its parts. Raises `UploadGone`, or `Conflict` for parts that the store does not take."""
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        with _translated("finishing an upload"):
            self._store.admin.complete_multipart_upload(
                Bucket=self._store.bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": listed}
            )

    def abort(self, key: str, upload_id: str) -> None:
        """Drop the upload and its parts. To repeat it changes nothing."""
        try:
            with _translated("aborting an upload"):
                self._store.admin.abort_multipart_upload(Bucket=self._store.bucket, Key=key, UploadId=upload_id)
        except UploadGone:
            pass

    def open(self, prefix: str) -> Iterator[OpenUpload]:
        """All uploads that are neither finished nor aborted, of keys that begin so.

        MinIO lists none for a prefix that is no whole key. It drops old ones by itself.
        """
        with _translated("listing uploads"):
            pages = self._store.admin.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._store.bucket, Prefix=prefix
            )
            for page in pages:
                for one in page.get("Uploads", []):
                    yield OpenUpload(one["Key"], one["UploadId"], one["Initiated"])


def part_size(size: int, least: int) -> int:
    """Bytes of each part but the last, so that S3's number of parts is enough for `size` bytes; whole MiB."""
    needed = -(-size // MAX_PARTS)
    return max(least, -(-needed // (1 << 20)) << 20)


def part_sizes(size: int, each: int) -> dict[int, int]:
    """The sizes of all parts by number. An empty object has one part, of no bytes."""
    count = max(1, -(-size // each))
    return {number: min(each, size - (number - 1) * each) for number in range(1, count + 1)}


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """What the store says of the upload itself is for the client; the rest is the store's own trouble."""
    with translated_boto(doing):
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code == "NoSuchUpload":
                raise UploadGone from error
            if code in _PARTS_WRONG:
                raise Conflict(f"The store does not take these parts: {code}.", code="PARTS_REFUSED") from error
            raise
